"""Options that ``losswire eval`` and ``losswire compare`` have alike."""

from functools import partial
from typing import Annotated

from typer import Option

of_files, of_run, of_output = (partial(Option, rich_help_panel=panel) for panel in ("Files", "Run", "Output"))

Split = Annotated[str | None, of_files(help="Split of a folder of a Hugging Face DatasetDict.")]
BatchRows = Annotated[int | None, of_files(min=1, help="Rows of one evaluation; 8 MB of them if not given.")]
RunName = Annotated[
    str | None,
    of_run(metavar="NAME", help="Count the files in this run of the server. Goes on where it lacks parts of them."),
]
RunLabels = Annotated[
    list[str] | None,
    of_run(metavar="NAME=VALUE", help="What to note about a new run; may be given several times."),
]
ExpectedKeys = Annotated[
    int | None,
    of_run(min=1, help="Keys that the run will have, from all commands; with --finish those of the files."),
]
Finish = Annotated[
    bool, of_run("--finish", help="Finish the run in the end: it must have the keys of these files, and no others.")
]
Json = Annotated[bool, of_output("--json", help="Write JSON.")]
