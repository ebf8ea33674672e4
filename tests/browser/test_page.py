"""What all pages share: the policy, text that is hostile, masks and boxes over images, the libraries' scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detkit.page.document import Part, asset, document, json_text, policy, text
from detkit.page.libraries import plotly_script, tables_script, tables_style

OpenPage = Callable[..., Any]
HOSTILE = '</script><script>window.hit=1</script><!--<img src=x onerror="window.hit=1">'


def written(folder: Path, **parts: Any) -> Path:
    path = folder / "page.html"
    path.write_text(document(title="page", **{"body": "", **parts}), encoding="utf-8")
    return path


def test_hostile_text_stays_text(tmp_path: Path, open_page: OpenPage) -> None:
    script = "document.title = JSON.parse(document.getElementById('names').textContent)[0];"
    path = tmp_path / "page.html"
    path.write_text(
        document(
            title=HOSTILE, body=f"<p title='{text(HOSTILE)}'>{text(HOSTILE)}</p>",
            scripts=[Part(script)], data={"names": [HOSTILE]},
        ),
        encoding="utf-8",
    )  # fmt: skip
    page = open_page(path)
    assert page.inner_text("p") == HOSTILE
    assert page.evaluate("JSON.parse(document.getElementById('names').textContent)[0]") == HOSTILE
    assert page.evaluate("window.hit") is None
    assert page.title() != "page"


def test_a_script_that_is_not_the_pages_own_does_not_run(tmp_path: Path, browser: Any) -> None:
    """Were something not escaped, the policy would still stop it."""
    body = "<script>window.hit = 1</script><img src=nothing.png onerror='window.hit = 1'>"
    path = written(tmp_path, body=body, scripts=[Part("window.own = 1;")])
    page = browser.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("[window.own, window.hit]") == [1, None]
    page.close()


def test_linked_parts_load_from_beside_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    (tmp_path / "own.js").write_text("window.own = 1;", encoding="utf-8")
    (tmp_path / "own.css").write_text("p { color: rgb(1, 2, 3); }", encoding="utf-8")
    page = open_page(
        written(tmp_path, body="<p>here</p>", styles=[Part(source="own.css")], scripts=[Part(source="own.js")])
    )
    assert page.evaluate("window.own") == 1
    assert page.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(1, 2, 3)"


def test_json_of_a_page_reads_back_and_holds_no_markup() -> None:
    value = {"a": [HOSTILE, "\u2028\u2029", "\udcff", 0.1, None]}
    content = json_text(value)
    assert "<" not in content
    assert "\u2028" not in content
    assert json.loads(content) == value
    content.encode("utf-8")
    with pytest.raises(ValueError, match="Out of range"):
        json_text(float("nan"))


def test_the_policy_allows_nothing_that_is_not_there() -> None:
    assert "script-src 'none'; style-src 'none'" in policy([], [], plots=False)
    assert "unsafe" not in policy([Part("p{}")], [Part("1")], plots=False)
    assert "script-src 'sha256-" in policy([], [Part("1")], plots=True)


def test_masks_decode_as_pycocotools_does(tmp_path: Path, open_page: OpenPage) -> None:
    from pycocotools import mask as coco_masks

    rng = np.random.default_rng(0)
    masks = [rng.random((height, width)) < share for height, width, share in ((1, 1, 1), (7, 5, 0.4), (300, 40, 0.02))]
    masks += [np.ones((90, 80), bool), np.zeros((9, 8), bool)]
    encoded = [coco_masks.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    plain = [{"size": list(one["size"]), "counts": one["counts"].decode()} for one in encoded]
    page = open_page(written(tmp_path, scripts=[Part(asset("objects.js"))], data={"masks": plain}))
    decoded = page.evaluate(
        """() => JSON.parse(document.getElementById("masks").textContent).map((mask) => {
          const canvas = Objects.maskPicture(mask, [255, 0, 0], 1);
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return Array.from(data).filter((_, i) => i % 4 === 3).map((alpha) => alpha / 255);
        })"""
    )
    for mask, found in zip(masks, decoded, strict=True):
        assert np.array_equal(np.asarray(found, bool), mask.ravel())


def test_boxes_are_drawn_where_they_are_and_found_under_a_point(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(
        written(tmp_path, body="<canvas id=c width=40 height=40></canvas>", scripts=[Part(asset("objects.js"))])
    )
    drawn = page.evaluate(
        """() => {
          const context = document.getElementById("c").getContext("2d");
          const objects = [{ box: [2, 2, 18, 18], colour: [255, 0, 0], name: "" },
                           { box: [5, 5, 10, 10], colour: [0, 255, 0], name: "" }];
          Objects.draw(context, objects, 2, { line: 2 });
          const pixel = (x, y) => Array.from(context.getImageData(x, y, 1, 1).data);
          return [pixel(4, 20), pixel(20, 30), pixel(10, 12), Objects.at(objects, 7, 7).colour,
                  Objects.at(objects, 15, 15).colour, Objects.at(objects, 1, 1) === undefined];
        }"""
    )
    assert drawn == [[255, 0, 0, 255], [0, 0, 0, 0], [0, 255, 0, 255], [0, 255, 0], [255, 0, 0], True]


def test_the_libraries_scripts_work_under_the_policy(tmp_path: Path, open_page: OpenPage) -> None:
    (tmp_path / "plotly.js").write_text(plotly_script(), encoding="utf-8")
    (tmp_path / "tables.js").write_text(tables_script(), encoding="utf-8")
    (tmp_path / "tables.css").write_text(tables_style(), encoding="utf-8")
    (tmp_path / "own.js").write_text(
        """Plotly.newPlot("plot", [{ x: [1, 2], y: [3, 4] }]);
        new DataTable("#table", { data: [["a", 1], ["b", 2]], columns: [{ title: "name" }, { title: "n" }] });""",
        encoding="utf-8",
    )
    page = open_page(
        written(
            tmp_path,
            body='<div id="plot"></div><table id="table"></table>',
            styles=[Part(source="tables.css")],
            scripts=[Part(source=name) for name in ("plotly.js", "tables.js", "own.js")],
            plots=True,
        )
    )
    page.wait_for_selector("#plot .scatterlayer")
    assert page.inner_text("#table tbody tr:first-child").split() == ["a", "1"]
