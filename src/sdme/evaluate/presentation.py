"""What a run's tables, plots and page call its methods, and which of them they bring out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sdme.evaluate.methods import METHODS, method_label
from sdme.evaluate.score import Score


@dataclass(frozen=True)
class Presentation:
    """How methods are shown; nothing of it changes a figure or what is stored for a later run.

    ``labels`` are names of methods by their keys; one without is called after its file. By their
    names ``ours`` are the methods to bring out, and ``beside`` is the one whose answers are
    pictured beside those of the first of them. ``of_sets`` is said on the page after the name of
    each data set, as ``held out``. ``conclude`` makes the page's first sentence.
    """

    title: str = "Evaluation of registration methods"
    ours: Sequence[str] = ()
    beside: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    of_sets: str = ""
    conclude: Callable[[Sequence[Score]], str] | None = None

    def name(self, method: str) -> str:
        """What the method of a key is called."""
        return self.labels.get(method, method_label(method))

    def set_name(self, dataset: str) -> str:
        """What a data set is called on the page."""
        return f"{dataset}, {self.of_sets}" if self.of_sets else dataset

    def named(self, scores: Sequence[Score]) -> list[Score]:
        """Scores under the names of their methods; a stage that is called as its method follows."""
        names = {method_label(method): label for method, label in self.labels.items()}
        out = []
        for score in scores:
            name = names.get(score.method, score.method)
            stage = name if score.stage == score.method else score.stage
            out.append(replace(score, method=name, stage=stage))
        return out


def setting_of(method: str) -> str:
    """What the method of a key is, and how it is set."""
    info = METHODS.get(method)
    if info is not None:
        return f"{info.summary}: {info.setting}"
    if method.endswith(".py"):
        return f"a method of the user's: {method}"
    return f"a model of this package: {method}"
