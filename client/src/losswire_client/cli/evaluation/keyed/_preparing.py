"""Creates a run, or takes the one that is there, and finds the keys of the files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from losswire_client import Client, ConflictError, InvalidArgumentError, NotFoundError, Run
from losswire_client._keys import Terms
from losswire_client._readers import Source
from losswire_client.cli._failures import CommandError, wrong_option
from losswire_client.cli._heads import head_of_run
from losswire_client.cli.evaluation._kinds import with_head, with_loss
from losswire_client.cli.evaluation._plan import ADDED, IGNORE_INDEX, Loss, Plan
from losswire_client.cli.evaluation._usage import check_options
from losswire_client.cli.evaluation._weights import class_weight
from losswire_client.cli.evaluation.keyed._files import Survey, survey, usual_block_rows
from losswire_client.cli.evaluation.keyed._wanted import Wanted, check_agrees, check_weight, terms_of_run


@dataclass(frozen=True)
class Prepared:
    """A run, and the files for it.

    Attributes:
        run: The run.
        plan: What to do with each file, with the run's loss and options.
        terms: How files are put into keys.
        survey: The files.
    """

    run: Run
    plan: Plan
    terms: Terms
    survey: Survey


def prepare(client: Client, wanted: Wanted, sources: Sequence[Source], plan: Plan) -> Prepared:
    """Creates the run if there is none.

    Raises:
        BadParameter: Options contradict each other, or the run.
        CommandError: No file can be opened, so that it is not known what the run should be.
    """
    try:
        run = client.get_run(wanted.name, series=wanted.series)
    except InvalidArgumentError as error:  # before anything is sent: only its name is known
        raise wrong_option("--run", error) from error
    except NotFoundError:
        return _created(client, wanted, sources, plan)
    return _joined(client, run, wanted, sources, plan)


def _created(client: Client, wanted: Wanted, sources: Sequence[Source], plan: Plan) -> Prepared:
    plan = plan if wanted.loss else with_loss(plan, sources)
    plan = _with_weight(plan, wanted, sources)
    terms = Terms(wanted.block_rows or usual_block_rows(sources, plan), wanted.slice_by)
    found = survey(sources, plan, terms, wanted.root)
    if not found.files:
        raise found.failures[0][1]
    try:
        run = client.run(
            wanted.name,
            loss=plan.loss.value,
            by_class=plan.per_class,
            labels={**wanted.labels, **terms.labels},
            expected_keys=_expected(wanted, found),
            series=wanted.series,
            **_options(plan),
        )
    except ConflictError:  # another command has created it meanwhile
        return _joined(client, client.get_run(wanted.name, series=wanted.series), wanted, sources, plan)
    return Prepared(run, plan, terms, found)


def _expected(wanted: Wanted, found: Survey) -> int | None:
    """How many keys the run will have. Other commands may bring other files, unless these are all of it."""
    if wanted.expected_keys is None and wanted.is_whole and not found.failures:
        return sum(1 for _ in found.all_keys())
    return wanted.expected_keys


def _joined(client: Client, run: Run, wanted: Wanted, sources: Sequence[Source], plan: Plan) -> Prepared:
    """Takes a run with the loss and the options that it has."""
    if run.loss not in {*Loss}:
        raise CommandError(f"the run {run.name} has the loss {run.loss}, to which losswire compare adds files")
    terms = terms_of_run(run, wanted)
    check_agrees(run, wanted, terms)
    plan = _with_head(client, plan, run)
    plan = _with_weight(_with_options(plan, run), wanted, sources)
    check_weight(run, plan.weight if wanted.weight else None)
    plan = _with_options(plan, run)
    return Prepared(run, plan, terms, survey(sources, plan, terms, wanted.root))


def _with_head(client: Client, plan: Plan, run: Run) -> Plan:
    """The plan with the head of the run, which the server gets if it lacks it and the command line has it."""
    name = run.options.get("head")
    if name is None:
        return replace(plan, head=None)
    return with_head(plan, head_of_run(client, run, name, plan.head, "--head"))


def _with_weight(plan: Plan, wanted: Wanted, sources: Sequence[Source]) -> Plan:
    check_options(plan, wanted.weight, sources, None)
    return replace(plan, weight=class_weight(wanted.weight, sources, plan)) if wanted.weight else plan


def _with_options(plan: Plan, run: Run) -> Plan:
    added = {name: run.options[name] for name in ADDED if run.options.get(name)}
    kept = {name: value for name, value in plan.options.items() if name not in ADDED}
    return replace(
        plan,
        loss=Loss(run.loss),
        ignore_index=run.options.get("ignore_index", IGNORE_INDEX),
        weight=run.options.get("weight"),
        options=kept | added,
        per_class=run.by_class,
    )


def _options(plan: Plan) -> dict[str, Any]:
    """The options of the loss, for a run."""
    if not plan.loss.has_classes:
        return {}
    given = {name: plan.options[name] for name in ADDED if plan.options.get(name)}
    head = {"head": plan.head.argument} if plan.head else {}
    return {"ignore_index": plan.ignore_index, "weight": plan.weight, **given, **head}
