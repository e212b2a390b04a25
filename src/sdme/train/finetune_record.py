"""What a fine-tuning is made of and what came out, kept in its folder; the names of its files."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from sdme.config import Settings, TrainSettings
from sdme.data.pairs import ImagePair
from sdme.errors import InputError
from sdme.files import WEIGHTS_FILE, write_text
from sdme.train.improvement import Improvement

WEIGHTS, START = WEIGHTS_FILE, "start.safetensors"
CARD, LOG, RECORD = "card.md", "log.jsonl", "finetune.json"
CHECK, CHECK_DATA = "data_check.txt", "data_check.json"
HELD_OUT, EVALUATION = "held_out.jsonl", "evaluation"


Ids = dict[str, tuple[str, ...]]
"""Ids of pairs by their dataset."""


def ids_of(pairs: Iterable[ImagePair]) -> Ids:
    """The ids of pairs by their dataset, in their order."""
    ids: dict[str, list[str]] = {}
    for pair in pairs:
        ids.setdefault(pair.dataset, []).append(pair.id)
    return {dataset: tuple(names) for dataset, names in ids.items()}


class Recipe(Settings):
    """All that the result follows from.

    ``training`` and ``photos`` are those that the settings choose from the data.
    ``share`` and ``seed`` chose the held-out pairs; ``share`` is ``None`` where the user did.
    ``cases`` are drawn from each of their datasets.
    """

    model: str
    sha256: str
    training: Ids
    held_out: Ids
    photos: Ids
    share: float | None
    seed: int
    cases: int
    settings: TrainSettings

    def differences(self, other: "Recipe") -> list[str]:
        """Names of the entries that the other recipe has otherwise.

        Where the start model lies does not count, as ``sha256`` says what it is.
        """
        one, two = (
            {**dict(recipe), "settings": recipe.settings.model_copy(update={"start": None})}
            for recipe in (self, other)
        )
        return [name for name in one if one[name] != two[name]]


class Record(Settings):
    """A fine-tuning as it stands.

    ``seconds`` is the time of its training so far. ``steps`` is there once training is done, and
    ``skipped`` of them had gradients that were not finite; ``improvement`` once all is done.
    ``suspects`` counts the pairs that the check of the data warned of.
    """

    recipe: Recipe
    suspects: int = 0
    seconds: float = 0.0
    steps: int | None = None
    skipped: int = 0
    improvement: Improvement | None = None

    def write(self, folder: Path) -> None:
        """Keep it in the folder."""
        write_text(folder / RECORD, self.model_dump_json(indent=1) + "\n")


def read_record(folder: Path) -> Record | None:
    """The fine-tuning in a folder; ``None`` where the folder is empty or is not there.

    Raises:
        InputError: the folder holds something else, or a damaged record.
    """
    try:
        if not folder.exists() or not any(folder.iterdir()):
            return None
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds other files and no fine-tuning ({RECORD}); give a new or an empty "
            "folder"
        ) from None
    except OSError as error:
        raise InputError(f"cannot use folder {folder}: {error.strerror}; give another") from None
    except ValidationError as error:
        line = str(error).splitlines()[0]
        raise InputError(f"{folder / RECORD} is damaged: {line}; give another folder") from None
