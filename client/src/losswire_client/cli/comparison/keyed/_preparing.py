"""Creates a run of divergences, or takes the one that is there, and finds the keys of the pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from typer import BadParameter

from losswire_client import Client, ConflictError, InvalidArgumentError, NotFoundError, Run
from losswire_client._keys import Terms
from losswire_client._readers.sides import PairSource
from losswire_client.cli._failures import CommandError, wrong_option
from losswire_client.cli._heads import GivenHead, head_of_run
from losswire_client.cli.comparison._plan import IGNORE_INDEX, Divergence, Plan, Tail, with_forms
from losswire_client.cli.comparison.keyed._pairs import PairSurvey, survey_pairs, usual_block_rows
from losswire_client.cli.evaluation.keyed._wanted import Wanted, check_agrees, terms_of_run

LOSS = "kl_divergence"


@dataclass(frozen=True)
class Prepared:
    """A run, and the pairs for it.

    Attributes:
        run: The run.
        plan: What to do with each pair, with the run's options.
        survey: The pairs.
    """

    run: Run
    plan: Plan
    survey: PairSurvey


def prepare(client: Client, wanted: Wanted, sources: Sequence[PairSource], plan: Plan) -> Prepared:
    """Creates the run if there is none.

    Raises:
        BadParameter: Options contradict the run.
        CommandError: No pair can be opened, or the run is no comparison.
    """
    try:
        run = client.get_run(wanted.name, series=wanted.series)
    except InvalidArgumentError as error:  # before anything is sent: only its name is known
        raise wrong_option("--run", error) from error
    except NotFoundError:
        return _created(client, wanted, sources, plan)
    return _joined(client, run, wanted, sources, plan)


def _created(client: Client, wanted: Wanted, sources: Sequence[PairSource], plan: Plan) -> Prepared:
    plan = with_forms(plan)
    terms = Terms(wanted.block_rows or usual_block_rows(sources, plan), wanted.slice_by)
    found = survey_pairs(sources, plan, terms, wanted.root)
    if not found.files:
        raise found.failures[0][1]
    count = wanted.expected_keys
    if count is None and wanted.is_whole and not found.failures:
        count = sum(1 for _ in found.all_keys())
    try:
        run = client.run(
            wanted.name,
            loss=LOSS,
            labels={**wanted.labels, **terms.labels},
            expected_keys=count,
            series=wanted.series,
            **{name: value for name, value in plan.options.items() if value is not None},
        )
    except ConflictError:  # another command has created it meanwhile
        return _joined(client, client.get_run(wanted.name, series=wanted.series), wanted, sources, plan)
    return Prepared(run, plan, found)


def _joined(client: Client, run: Run, wanted: Wanted, sources: Sequence[PairSource], plan: Plan) -> Prepared:
    """Takes a run with the options that it has."""
    if run.loss != LOSS:
        raise CommandError(f"the run {run.name} has the loss {run.loss}, to which losswire eval adds files")
    terms = terms_of_run(run, wanted)
    check_agrees(run, wanted, terms)
    _check_heads(run, plan)
    plan = with_forms(_with_options(client, plan, run))
    terms = replace(terms, block_rows=terms.block_rows or usual_block_rows(sources, plan))
    return Prepared(run, plan, survey_pairs(sources, plan, terms, wanted.root))


def _check_heads(run: Run, plan: Plan) -> None:
    """Refuses other heads than those of a run."""
    for option, name, given in _heads(plan):
        there = run.options.get(name)
        if given and given.digest != there:
            problem = f"the run {run.name} has {there or 'none'}, got {given.digest}"
            raise BadParameter(f"{problem}: leave it out, or choose another run", param_hint=option)


def _heads(plan: Plan) -> Iterator[tuple[str, str, GivenHead | None]]:
    is_one = plan.reference_head is plan.candidate_head  # which --head names
    yield "--head" if is_one else "--head-a", "target_head", plan.reference_head
    yield "--head" if is_one else "--head-b", "head", plan.candidate_head


def _with_options(client: Client, plan: Plan, run: Run) -> Plan:
    options = run.options
    heads = {
        name: head_of_run(client, run, options[name], given, option) if options.get(name) else None
        for option, name, given in _heads(plan)
    }
    return replace(
        plan,
        divergence=Divergence(str(options["divergence"]).replace("_", "-")),
        beta=options.get("beta"),
        temperature=options.get("temperature") or 1.0,
        tail=_tail(options.get("tail")),
        ignore_index=options.get("ignore_index", IGNORE_INDEX),
        reference_head=heads["target_head"],
        candidate_head=heads["head"],
    )


def _tail(name: Any) -> Tail | None:
    return Tail(name.replace("_", "-")) if name else None
