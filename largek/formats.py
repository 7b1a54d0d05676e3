"""Where a file that largek derives from others comes from, said in the file itself.

`format_version` counts up when a reader of before would misread a file; one without it is of version 1, as all files
are that largek wrote before it said so. It and `largek_version` stand

    in the JSON of the metadata `largek` of grades (grades.parquet) and of recorded verdicts (recorded.parquet)
    in the JSON object of `largek loss`, of `rank --json` and of `coverage --json`
    in the line of settings of `largek.callback`

CSV tables and lists of rows (`passk --json`) have no place for them: they hold what their header says and are read by
people's own programs, not by largek.
"""

from largek import __version__
from largek.common import InputError

VERSION = 1


def made_by() -> dict:
    """What a file says of its making."""
    return {"format_version": VERSION, "largek_version": __version__}


def refuse_newer(about: dict, path: object) -> None:
    """Raises InputError if a file, by what it says of its making, may be misread here."""
    found = about.get("format_version", 1)
    if type(found) is not int or found > VERSION:
        writer = about.get("largek_version", "a newer one")
        what = f"its format has version {found}, written by largek {writer}"
        raise InputError(f"{path}: {what}; this largek, {__version__}, reads up to version {VERSION}: update it")
