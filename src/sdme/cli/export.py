"""``sdme export``: a transform in a file of another program, or one of theirs in ours."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sdme.cli.output import JsonFlag, Output, QuietFlag
from sdme.config import Kind


def export(
    transform: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    format: str | None = None,  # noqa: A002 - what it is called everywhere
    fixed: Path | None = None,
    moving: Path | None = None,
    kind: Annotated[Kind | None, Parameter(name="--transform")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Write a transform for another program.

    Examples: `sdme export out/transform.json -o out.tfm`,
    `sdme export out/transform.json -o moving.vrt --fixed fixed.tif --moving moving.tif`,
    `sdme export points.csv -o transform.json --fixed fixed.png --moving moving.png`

    | format | suffix | what it is |
    | --- | --- | --- |
    | `json` | .json | the transform file of sdme |
    | `itk` | .tfm .txt | ITK transform (no homography) |
    | `opencv` | .yml .yaml .xml | matrix for OpenCV |
    | `numpy` | .npy .npz | matrix for NumPy |
    | `csv` | .csv | control points, pixels of both images |
    | `qgis` | .points | points of the QGIS Georeferencer |
    | `field` | .tif .tiff | displacement field, two bands |
    | `itk-field` | .mha .nii .nrrd | displacement field for ITK |
    | `gcps` | .vrt .tif | the moving image with ground control points |

    The first six are read, too, and `gcps`; a transform is fitted to points. Conventions are in
    docs/transform-format.md.

    Parameters
    ----------
    transform
        transform file, or one of another program
    output
        file to write; its suffix says the format
    format
        the format, where the suffix does not say it (.tif is a displacement field)
    fixed
        the fixed image, for formats that hold ground coordinates, or to say its size
    moving
        the moving image, likewise
    kind
        what is fitted to control points [default: as many freedoms as there are points for]
    as_json
        print one JSON object and nothing else
    quiet
        print nothing but errors
    """
    from sdme.errors import InputError
    from sdme.exchange.formats import export_transform, read_transform

    out = Output(as_json, quiet)
    if output.exists() and transform.exists() and output.samefile(transform):
        raise InputError(f"{output} is the input itself; give another name with -o")
    found = read_transform(transform, fixed=fixed, moving=moving, kind=kind)
    name = export_transform(found.transform, output, format, fixed=fixed, moving=moving)
    for warning in found.warnings:
        out.warning(warning)
    content = {"output": str(output), "format": name, "kind": found.transform.kind}
    if found.control is not None:
        content |= {
            "points": len(found.control.residuals),
            "left_out": len(found.control.left_out),
            "residuals": [round(r, 6) for r in found.control.residuals.tolist()],
        }
    out.result(content)
    out.line(f"{transform} ({found.format}, {found.transform.kind}) as {name}: {output}")
    return 0
