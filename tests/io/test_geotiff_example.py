"""The worked example of docs/formats.md, with the network."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import rasterio

import sdme

EXAMPLE = Path(__file__).parents[2] / "examples" / "geotiff.py"


def write_pair(folder):
    spec = importlib.util.spec_from_file_location("geotiff_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_pair(folder)


@pytest.mark.slow
def test_the_result_opens_where_the_fixed_image_lies(tmp_path):
    blue, swir = write_pair(tmp_path)
    result = sdme.register(blue, swir)
    assert result.status == "aligned", result.message
    assert result.notes == ()
    assert result.correction.metres == pytest.approx(100, abs=6)
    saved = result.save(tmp_path / "out")
    with rasterio.open(blue) as fixed, rasterio.open(saved.aligned) as out:
        assert out.bounds == fixed.bounds == (600_000, 5_395_600, 604_200, 5_400_000)
        assert out.crs == fixed.crs == "EPSG:32631"
        assert out.dtypes == ("float32", "float32") and out.nodata == -9999
        assert out.descriptions == ("swir", "half")
        bands, inside = out.read(), out.dataset_mask() > 0
    np.testing.assert_allclose(bands[1][inside], bands[0][inside] / 2, atol=1e-3)
    # the sample's own answer, of which the georeferenced moving image is a resampling
    truth = sdme.Transform.load(EXAMPLE.parents[1] / "samples/farmland_blue_swir/truth.json")
    exact = truth.warp(
        sdme.read_image(EXAMPLE.parents[1] / "samples/farmland_blue_swir/moving.png")
    )
    assert np.corrcoef(bands[0][inside], exact[inside])[0, 1] > 0.93
