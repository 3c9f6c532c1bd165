"""The tables that the example prints."""

from remote import Adaptation, Evaluation
from rich.table import Table


def evaluation_table(evaluation: Evaluation) -> Table:
    held = evaluation.held
    table = Table(show_header=False, title="Held-out text, from hidden states", title_justify="left")
    table.add_row("the head at the server", f"{held.digest[:16]}..., alias {', '.join(held.aliases)}")
    shape = f"{held.class_count:,} words x {held.width} in {held.dtype}, after an {held.norm} norm"
    table.add_row("what it is", shape)
    table.add_row("words predicted", f"{evaluation.row_count:,}")
    table.add_row("loss, by the server", f"{evaluation.loss:.7f}", style="bold")
    table.add_row("loss, F.cross_entropy of the logits here", f"{evaluation.local_loss:.7f}")
    table.add_row("perplexity", f"{evaluation.perplexity:.3f}")
    table.add_row("sent: hidden states", f"{evaluation.state_bytes / 1e6:.1f} MB", style="bold")
    table.add_row("not sent: logits", f"{evaluation.logit_bytes / 1e6:.1f} MB")
    table.add_row("times as many bytes", f"{evaluation.logit_bytes / evaluation.state_bytes:.1f}")
    return table


def adaptation_table(adaptation: Adaptation) -> Table:
    title = "Training on further topics, with a frozen head"
    table = Table("loss of a batch", "by the server", "by PyTorch", title=title, title_justify="left")
    last = len(adaptation.remote) - 1
    for step in sorted({0, 1, last // 2, last}):
        table.add_row(f"step {step + 1}", f"{adaptation.remote[step]:.6f}", f"{adaptation.local[step]:.6f}")
    table.add_row("all batches, before", f"{adaptation.before:.6f}", "")
    table.add_row("all batches, after", f"{adaptation.after:.6f}", "")
    table.add_row("first gradient, their difference", f"{adaptation.gradient_error:.1e} of it", "", style="dim")
    return table
