"""The laptop lab: multi-step problems whose every step can be checked.

`problems` states, solves and draws problems; `checker` grades an answer and its working.
Neither imports anything outside the standard library and largek's verdict type.
"""
