"""Shipped weights as records, and reading and writing of weights files (safetensors)."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sdme.config import AnyNetworkSettings, Calibration, FastSettings
from sdme.errors import InputError
from sdme.files import WEIGHTS_FILE, replacing
from sdme.model.fast import FastNetwork
from sdme.model.network import SdmeNetwork

Network = SdmeNetwork | FastNetwork
FOLDER = Path(__file__).parent.parent / "weights"
DEFAULT_MODEL = "universal"
_SETTINGS: TypeAdapter[AnyNetworkSettings] = TypeAdapter(AnyNetworkSettings)


@dataclass(frozen=True)
class WeightsRecord:
    """One shipped model: file, checksum and what a user must know before using it.

    The model card with data, settings, curves and figures is the Markdown file of the same name.
    """

    name: str
    file: str
    sha256: str
    preset: str
    licence: str
    training_data: str
    modalities: tuple[str, ...]
    metric: str

    @property
    def path(self) -> Path:
        """Where the file lies in the installed package."""
        return FOLDER / self.file

    def is_intact(self) -> bool:
        """Whether the file is there and has the recorded checksum."""
        if not self.path.is_file():
            return False
        return hashlib.sha256(self.path.read_bytes()).hexdigest() == self.sha256


@cache
def records() -> tuple[WeightsRecord, ...]:
    """All shipped models, from ``weights/records.json`` in the package."""
    content = json.loads((FOLDER / "records.json").read_text(encoding="utf-8"))
    return tuple(WeightsRecord(**(r | {"modalities": tuple(r["modalities"])})) for r in content)


def build_network(settings: AnyNetworkSettings) -> Network:
    """A new network of the settings' preset, with random weights."""
    if isinstance(settings, FastSettings):
        return FastNetwork(settings)
    return SdmeNetwork(settings)


def save_weights(path: Path, network: Network) -> None:
    """Write half-precision weights; the metadata holds the network's settings and calibration.

    Running means and variances stay in float32.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        halve = value.is_floating_point() and "running" not in name
        tensors[name] = (value.half() if halve else value).contiguous().cpu()
    metadata = {"network": network.settings.model_dump_json(), "format": "sdme-weights-1"}
    if network.calibration is not None:
        metadata["calibration"] = network.calibration.model_dump_json()
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def usable_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is any, else the CPU.

    Raises:
        InputError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"device {name!r} is unknown; use auto, cpu, cuda or cuda:N")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise InputError(
            f"device {name!r} is not to be had here; use auto or cpu, or install PyTorch for the "
            "accelerator"
        ) from None


def weights_path(model: str | Path) -> Path:
    """The file of a model, by the name of shipped weights or the path of a file.

    Raises:
        InputError: there is no such model; the line names the weights of a run whose folder was
            given.
    """
    known = {record.name: record.path for record in records()}
    path = known.get(str(model), Path(model))
    if not path.is_file():
        hint = weights_beside(path, ", as ") if path.is_dir() else ""
        raise InputError(
            f"there is no model {str(model)!r}; use one of {sorted(known)} or a file{hint}"
        )
    return path


def weights_beside(path: Path, before: str) -> str:
    """The weights of the run that a path is the folder or another file of, after ``before``.

    Empty if there are none.
    """
    weights = (path if path.is_dir() else path.parent) / WEIGHTS_FILE
    return f"{before}{weights}" if weights.is_file() and weights != path else ""


def load_network(model: str | Path, device: str | torch.device = "cpu") -> Network:
    """A network ready for inference, by the name of shipped weights or the path of a file.

    Which preset it is of stands in the file; one that names none is of the preset ``paper``.

    Raises:
        InputError: there is no such model, or the file holds no weights of this package.
    """
    path = weights_path(model)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        network = build_network(_SETTINGS.validate_json(metadata.get("network", "")))
        network.load_state_dict(tensors)
        if "calibration" in metadata:
            network.calibration = Calibration.model_validate_json(metadata["calibration"])
    except SafetensorError as error:
        raise InputError(
            f"{path} holds no weights for this package: it is no whole .safetensors file "
            f"({str(error).splitlines()[0]}){weights_beside(path, '; did you mean ')}"
        ) from None
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} holds no weights for this package: {reason}") from None
    network = network.to(device).eval()
    # a quarter faster on a CPU, and what bfloat16 convolutions on CUDA want
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
