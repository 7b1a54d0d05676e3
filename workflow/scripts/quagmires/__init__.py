"""What the scripts of the study share. A rule's own program stands one folder up, under the rule's name.

It is beside the scripts so that they find it however they are started: Python looks first where a script lies.
"""
