"""Files from anywhere: what is broken, ambiguous or hostile in them is told with its place, and never read wrong."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detkit import DataError, Dataset, DatasetComponent
from detkit.data.images import UnreadableImage, decode, read_header
from detkit.data.targets import decode_masks, instances
from detkit.errors import DetkitError
from detkit_formats import COCO, CSV, MASKS, VOC, YOLO
from plugins.format_files import Told, coco_json, opened, picture, voc_folder, voc_object, voc_xml

LONG = "a" * 5000
DIGITS = "9" * 5000


def whole(dataset: Dataset) -> None:
    """Read all of it."""
    for index in range(len(dataset)):
        dataset.info(index)
        dataset[index]


def refused(component: DatasetComponent[Any], says: str, told: Told | None = None, **options: Any) -> DataError:
    with pytest.raises(DataError, match=says) as caught:
        whole(opened(component, told, **options))
    return caught.value


# --- coco ------------------------------------------------------------------------------------------------------------


def coco_file(root: Path) -> Path:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    objects = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 10], "area": 100, "iscrowd": 0}]
    return coco_json(root / "data.json", images, objects, pictures=root)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"images":', '"annotations": [], "images":', "has the key 'annotations' twice"),
        ('"image_id": 1', '"image_id": 2, "image_id": 1', "has the key 'image_id' twice"),
        ("a.jpg", LONG, r"its image .* cannot be looked at \(File name too long\)"),
        ("a.jpg", "a\\u0000.jpg", "does not exist"),
        ("a.jpg", "./b.jpg", r"are both the file .*b\.jpg"),
        ("a.jpg", "../../../../../../../../../etc/hostname", "cannot be read as an image|does not exist"),
        ("[1, 2, 10, 10]", "[1, 2, 1e30, 10]", "annotation 1: has a box 10,000,000 pixels or more away"),
        ("[1, 2, 10, 10]", "[1, 2, NaN, 10]", r"annotations\[0\] \(id 1\) has 'bbox'"),
        ('"cat"', '"c\\nat"', "holds a line break"),
        ("100", DIGITS, "cannot be read: Exceeds the limit"),
    ],
)
def test_coco(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = coco_file(tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    refused(COCO, says, annotations=file)


def test_images_that_no_file_names_are_told(tmp_path: Path) -> None:
    told = Told()
    file = coco_file(tmp_path / "coco")
    picture(tmp_path / "coco/c.jpg")
    opened(COCO, told, annotations=file)
    assert any("an image is beside those of the dataset" in line and "c.jpg" in line for line in told.lines)
    told = Told()
    root = voc_folder(tmp_path / "voc", {"a": [voc_object()]})
    picture(root / "JPEGImages/q.jpg")
    opened(VOC, told, root=root)
    assert any("q.jpg" in line and "an XML file without <object>" in line for line in told.lines)


# --- voc -------------------------------------------------------------------------------------------------------------

LAUGHS = "".join(f'<!ENTITY l{n} "{(f"&l{n - 1};" if n else "haha") * 10}">' for n in range(12))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("<width>40", f"<width>{DIGITS}", "its width is '9999.*no number of pixels"),
        ("<width>40", "<width>-40", "its width is '-40', no number of pixels"),
        ("<width>40", "<width>41.0", r"says that a\.jpg is 41 x 30 pixels"),
        ("</size>", "</size><size><width>1</width></size>", "has 2 times <size>"),
        ("<name>", "<name>dog</name><name>", r"object 0 \(line 4\): has 2 times <name>"),
        ("<xmin>", "<xmin>3</xmin><xmin>", r"object 0 \(line 4\): has 2 times <bndbox/xmin>"),
        ("</bndbox>", "</bndbox><bndbox/>", r"object 0 \(line 4\): has 2 times <bndbox>"),
        ("<xmin>1<", "<xmin>1_0<", r"object 0 \(line 4\): its <xmin> is '1_0'"),
        ("<xmin>1<", "<xmin>\u0661<", "its <xmin> is '\u0661'"),
        ("<xmin>1<", "<xmin>1e300<", "its <xmin> is '1e300'"),
        ("<xmin>1<", "<xmin>nan<", "its <xmin> is 'nan'"),
        ("object>", "Object>", "holds <Object>, which is not read"),
        ("<annotation>", f"<!DOCTYPE a [{LAUGHS}]><annotation>&l11;", "amplification|no XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;', "undefined entity"),
        ("cat", "background", "class 0 is 'background'"),
    ],
)
def test_voc(tmp_path: Path, old: str, new: str, says: str) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()]})
    file = root / "Annotations/a.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 2 if old == "object>" else 1), encoding="utf-8")
    begun = time.monotonic()
    error = refused(VOC, says, root=root)
    assert time.monotonic() - begun < 5
    assert "a.xml" in str(error) or "the classes" in str(error)


def test_voc_files_around(tmp_path: Path) -> None:
    root = voc_folder(tmp_path, {"a": [voc_object()], "b": [voc_object()]}, {"train": ["a"], "val": []})
    refused(VOC, r"val\.txt: names no image", root=root)
    (root / "ImageSets/Main/val.txt").write_bytes("b\n".encode("utf-16"))
    refused(VOC, r"val\.txt is no UTF-8 text", root=root)
    (root / "ImageSets/Main/val.txt").write_text("b\n")
    (root / "labels.txt").write_bytes("cat\n".encode("utf-16"))
    refused(VOC, r"labels\.txt is no UTF-8 text", root=root)
    (root / "labels.txt").write_text("dog\n")
    told = Told()
    opened(VOC, told, root=root)
    assert any("does not name 'cat'" in line for line in told.lines)
    voc_xml(root / "Annotations/z.xml", filename=LONG)
    refused(VOC, r"z\.xml: its image .* cannot be looked at \(File name too long\)", root=root)
    voc_xml(root / "Annotations/z.xml", filename="a.jpg")
    refused(VOC, r"z\.xml: its image .*a\.jpg is that of a\.xml too", root=root)


def test_endings_in_capitals(tmp_path: Path) -> None:
    """Without them objects would be missing, and nobody told."""
    root = voc_folder(tmp_path / "voc", {"a": [voc_object()]})
    (root / "Annotations/a.xml").rename(root / "Annotations/a.XML")
    assert len(opened(VOC, root=root).info(0).annotations) == 1
    picture(tmp_path / "yolo/images/a.JPG")
    (tmp_path / "yolo/labels").mkdir()
    (tmp_path / "yolo/labels/a.TXT").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "yolo/data.YAML").write_text("train: images\nnames: [cat]\n")
    assert len(opened(YOLO, root=tmp_path / "yolo").info(0).annotations) == 1
    picture(tmp_path / "csv/a.jpg")
    (tmp_path / "csv/t.CSV").write_text("image,class,x1,y1,x2,y2\na.jpg,cat,1,2,3,4\n")
    assert len(opened(CSV, root=tmp_path / "csv").info(0).annotations) == 1
    picture(tmp_path / "masks/images/a.PNG")
    (tmp_path / "masks/masks").mkdir()
    Image.fromarray(np.ones((30, 40), np.uint8)).save(tmp_path / "masks/masks/a.PNG")
    assert len(opened(MASKS, root=tmp_path / "masks").info(0).annotations) == 1


# --- yolo ------------------------------------------------------------------------------------------------------------

PATHS = "train: images\nval: more\n"
NAMES = "names: [cat, dog]\n"
BOMB = "b0: &b0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{n}: &b{n} [{','.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


def yolo_folder(root: Path, line: str = "0 0.5 0.5 0.5 0.5", yaml: str = PATHS + NAMES) -> Path:
    picture(root / "images/a.jpg")
    picture(root / "more/b.jpg", seed=1)
    (root / "labels").mkdir()
    (root / "labels/a.txt").write_text(f"{line}\n", encoding="utf-8")
    (root / "data.yaml").write_text(yaml)
    return root


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        (PATHS + "names: {0: cat, 0: dog}", r"data\.yaml:3: '0' is there twice"),
        (PATHS + NAMES + "names: [dog, cat]", r"data\.yaml:4: 'names' is there twice"),
        (f"{PATHS}names: {{? {DIGITS} : cat}}", "names must be a list"),
        (PATHS + f"nc: {DIGITS}\n" + NAMES, "nc says 999"),
        (PATHS + BOMB + "names: *b11\n", "names must be a list"),
        (BOMB + "train: *b11\n" + NAMES, "train must be a path or a list of paths"),
        (PATHS + BOMB + "path: *b11\n" + NAMES, "path must be a folder"),
        ("[" * 20000, "nested too deep"),
        (f"train: {LONG}\n" + NAMES, "there is no folder .*aaa"),
        ("train: ~nobody-of-this-name/x\n" + NAMES, "there is no folder"),
        ("train: [images, images]\n" + NAMES, r"names .*a\.jpg twice in train"),
        ("train: images\nval: images\n" + NAMES, r"names .*a\.jpg in train and in validation"),
        ("train: labels\nval: more\n" + NAMES, "labels: no images are there for train"),
        (PATHS + "names: !!python/object/apply:os.mkdir [made]\n", "its class is 0|the classes are|no UTF-8|names"),
    ],
)
def test_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    root = yolo_folder(tmp_path, "1 0.5 0.5 0.5 0.5", yaml)
    begun = time.monotonic()
    assert len(str(refused(YOLO, says, root=root))) < 1500
    assert time.monotonic() - begun < 10
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0_0 0.5 0.5 0.5 0.5", "line 1: '0_0' is no number"),
        ("\u0660 0.5 0.5 0.5 0.5", "line 1: '\u0660' is no number"),
        ("1e300 0.5 0.5 0.5 0.5", "line 1: its class is 1e300; it must be a whole number"),
        ("0 0.5 0.5 0.5 1e400", "line 1: '1e400' is no number"),
    ],
)
def test_labels(tmp_path: Path, line: str, says: str) -> None:
    refused(YOLO, says, root=yolo_folder(tmp_path, line))


def test_yolo_files_around(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path)
    (root / "labels/a.txt").unlink()
    (root / "labels/a.txt").symlink_to("gone.txt")
    refused(YOLO, r"a\.txt: is a link to gone\.txt, which does not exist", root=root)
    (root / "labels/a.txt").unlink()
    (root / "data.yaml").write_text("train: list.txt\nval: more\n" + NAMES)
    (root / "list.txt").write_text("")
    refused(YOLO, r"list\.txt: no images are there for train", root=root)
    (root / "list.txt").write_text(f"{LONG}\n")
    refused(YOLO, r"list\.txt, line 1: names aaa", root=root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_bytes("cat\ndog\n".encode("utf-16"))
    refused(YOLO, r"classes\.txt is no UTF-8 text", root=root)


# --- csv -------------------------------------------------------------------------------------------------------------

HEADER = "image,class,xmin,ymin,xmax,ymax\n"
ROW = "a.jpg,cat,1,2,11,12\n"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (HEADER + f"{'a' * 200_000},cat,1,2,3,4\n", "line 2: is no row of a table: field larger"),
        ("a" * 200_000, "line 1: is no row of a table: field larger"),
        (HEADER + 'a.jpg,"cat"x,1,2,3,4\n', "line 2: is no row of a table"),
        (HEADER + 'a.jpg,"cat,1,2,3,4\n' + ROW, "line 3: is no row of a table.*is a quote not closed"),
        (HEADER + f"{LONG},cat,1,2,3,4\n", r"its image .* cannot be looked at \(File name too long\)"),
        (HEADER + "a.jpg,cat,1_0,2,30,14\n", "line 2: its 'xmin' is '1_0'"),
        (HEADER + "a.jpg,cat,1e300,2,1e301,14\n", "line 2: its 'xmin' is '1e300'; it must be a number of pixels"),
        (HEADER.replace("ymax", "ymax,xmin") + "a.jpg,cat,1,2,3,4,5\n", "several columns are named 'xmin'"),
        (HEADER + "x/a.jpg,cat,1,2,3,4\ny/a.jpg,cat,5,6,7,8\n", r"x/a\.jpg and y/a\.jpg are both the file .*a\.jpg"),
        (
            "image,class,xcenter,ycenter,width,height\na.jpg,cat,20,15,10,10\n",
            "line 2: its 'xcenter' is 20, which is not",
        ),
        ("width,height," + HEADER + f"{DIGITS},30,{ROW}", "line 2: its width is '999"),
        (
            "width,height," + HEADER + f"40,30,{ROW}41,30,{ROW}",
            "line 3: says that a.jpg is 41 x 30 pixels, and line 2 40",
        ),
    ],
)
def test_csv(tmp_path: Path, table: str, says: str) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "t.csv").write_text(table)
    refused(CSV, says, root=tmp_path)


def test_a_table_without_rows_is_no_split(tmp_path: Path) -> None:
    """It would silently become a random part of the others."""
    picture(tmp_path / "a.jpg")
    (tmp_path / "train.csv").write_text(HEADER + ROW)
    (tmp_path / "val.csv").write_text(HEADER)
    refused(CSV, r"val\.csv: no images are there: the table has no rows to validation", root=tmp_path)


# --- masks -----------------------------------------------------------------------------------------------------------


def mask_folder(root: Path, mask: Any = None, mapping: str = "") -> Path:
    picture(root / "images/a.png")
    (root / "masks").mkdir()
    if mask is not None:
        Image.fromarray(mask).save(root / "masks/a.png")
    if mapping:
        (root / "objects.json").write_text(mapping)
    return root


@pytest.mark.parametrize("name", ["{stem.x}.png", "{stem[a]}.png", "{0}.png", "{stem", "{foo}", "{stem!z}"])
def test_a_name_of_masks_that_is_no_pattern(tmp_path: Path, name: str) -> None:
    refused(MASKS, r"it may hold \{stem\}", root=mask_folder(tmp_path, np.ones((30, 40), np.uint8)), mask_name=name)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f'"{DIGITS}": "cat"', "a.png, '999.*it must be a number"),
        ('"01": "cat", "1": "dog"', "a.png, '1': is there twice, as 1"),
        ('"1": "cat", "1": "dog"', "has the key '1' twice"),
    ],
)
def test_mappings(tmp_path: Path, row: str, says: str) -> None:
    mapping = f'{{"objects": {{"a.png": {{{row}}}}}}}'
    refused(MASKS, says, root=mask_folder(tmp_path, np.ones((30, 40), np.uint8), mapping))


def test_masks_that_are_none(tmp_path: Path) -> None:
    root = mask_folder(tmp_path)
    mask = root / "masks/a.png"
    mask.symlink_to("gone.png")
    for unlabelled in ("error", "empty", "leave_out"):
        refused(MASKS, r"is a link to gone\.png, which does not exist", root=root, unlabelled=unlabelled)
    mask.unlink()
    Image.fromarray(np.full((30, 40), -3, np.int32)).save(root / "masks/a.tif")
    refused(MASKS, r"a\.tif: holds -3", root=root)
    Image.fromarray(np.ones((30, 40), np.float32)).save(root / "masks/a.tif")
    refused(MASKS, r"a\.tif: holds fractions", root=root)
    (root / "masks/a.tif").unlink()
    noise = np.random.default_rng(0).integers(0, 65535, (300, 400), dtype=np.uint16)
    Image.fromarray(noise).save(mask)
    picture(root / "images/a.png", 400, 300)
    refused(MASKS, r"a\.png: holds .* different numbers, each of a few pixels: is it a photograph", root=root)


def test_thousands_of_objects_take_little_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.kron(np.arange(1, 1201, dtype=np.uint16).reshape(30, 40), np.ones((5, 4), np.uint16))
    expected = instances(ids)
    masks = decode_masks([item.mask for item in expected.values() if item.mask], *ids.shape)
    assert [int(mask.sum()) for mask in masks] == [20] * 1200
    monkeypatch.setattr("detkit.data.targets.MOST_BYTES", 7 * ids.size)
    assert instances(ids) == expected
    assert np.array_equal(decode_masks([item.mask for item in expected.values() if item.mask], *ids.shape), masks)


# --- images ----------------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_damaged_exif_data_does_not_keep_a_picture_from_being_read(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.png").read_bytes()
    file = tmp_path / "b.png"
    file.write_bytes(whole[:33] + chunk(b"eXIf", b"garbage") + whole[33:])
    for rotate in (True, False):
        assert read_header(file, rotate=rotate).orientation == 1
        assert decode(file, rotate=rotate).equal(decode(tmp_path / "a.png", rotate=rotate))


def test_a_program_is_never_started_to_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives Encapsulated PostScript to Ghostscript, whatever the file's ending."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("PIL.EpsImagePlugin.has_ghostscript", lambda: True)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    (tmp_path / "a.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    for read in (read_header, decode):
        with pytest.raises(UnreadableImage, match="no picture of a format"):
            read(tmp_path / "a.jpg", rotate=False)


@pytest.mark.parametrize(("behind", "cut"), [(b"", False), (b"film" * 50_000, False)])
def test_what_stands_behind_a_jpeg_does_not_make_it_cut(tmp_path: Path, behind: bytes, cut: bool) -> None:
    file = picture(tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes() + behind)
    assert read_header(file, rotate=False).cut is cut


def test_the_end_of_a_preview_is_not_that_of_the_picture(tmp_path: Path) -> None:
    preview = picture(tmp_path / "small.jpg", 8, 8).read_bytes()
    whole = picture(tmp_path / "a.jpg").read_bytes()
    app = b"\xff\xe1" + struct.pack(">H", len(preview) + 8) + b"Exif\0\0" + preview
    file = tmp_path / "b.jpg"
    file.write_bytes(whole[:2] + app + whole[2:])
    assert not read_header(file, rotate=False).cut
    file.write_bytes(whole[:2] + app + whole[2:-300])
    assert read_header(file, rotate=False).cut
    assert decode(file, rotate=False, cut="fill").shape == (3, 30, 40)


# --- anything at all -------------------------------------------------------------------------------------------------


def coco_root(root: Path) -> Path:
    return coco_file(root)


def voc_root(root: Path) -> Path:
    return (
        voc_folder(root, {"a": [voc_object(difficult=0)], "b": []}, {"train": ["a"], "val": ["b"]})
        / "Annotations/a.xml"
    )


def yolo_root(root: Path) -> Path:
    return yolo_folder(root, "0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.2 0.2 0.3 0.1") / "labels/a.txt"


def yaml_root(root: Path) -> Path:
    return yolo_folder(root) / "data.yaml"


def csv_root(root: Path) -> Path:
    picture(root / "a.jpg")
    (root / "t.csv").write_text(HEADER + ROW + 'a.jpg,"dog",0.5,2,11,12\n')
    return root / "t.csv"


def mask_root(root: Path) -> Path:
    return mask_folder(root, np.eye(30, 40, dtype=np.uint8)) / "masks/a.png"


def mapping_root(root: Path) -> Path:
    return mask_folder(root, np.eye(30, 40, dtype=np.uint8), '{"objects": {"a.png": {"1": "cat"}}}') / "objects.json"


ROOTS: Mapping[str, tuple[DatasetComponent[Any], Callable[[Path], Path]]] = {
    "coco": (COCO, coco_root),
    "voc": (VOC, voc_root),
    "yolo": (YOLO, yolo_root),
    "yaml": (YOLO, yaml_root),
    "csv": (CSV, csv_root),
    "masks": (MASKS, mask_root),
    "mapping": (MASKS, mapping_root),
}
#: What is put into files in place of something, or between.
SPICE = tuple(
    text.encode("latin-1")
    for text in (
        *("", "\0", "\xff", "\xfe\xff", "\r\n", "\xef\xbb\xbf", "-", "1e999", "nan", "null", "[]", "{}", '""', "[["),
        *("<", "&x;", "*a", "&a ", "!!x ", "?", "0", DIGITS, "../", "~a/", "/", LONG, '"', ",", "\xe2\x80\xa8"),
        *("\xd9\xa1", "true", "[1]", "1.5", "\t", ":", "#"),
    )
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, bytes]]:
    made = {}
    for name, (_, build) in ROOTS.items():
        file = build(tmp_path_factory.mktemp(name))
        made[name] = (file, file.read_bytes())
    return made


@pytest.mark.parametrize("name", ROOTS)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from(SPICE)), min_size=1, max_size=4
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_are_read_or_refused(
    folders: dict[str, tuple[Path, bytes]], name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    """Whatever a file holds, nothing but an error of detkit's own is raised, and what is read are boxes of numbers."""
    file, content = folders[name]
    for place, length, spice in changes:
        at = place % (len(content) + 1)
        content = content[:at] + spice + content[at + length :]
    file.write_bytes(content)
    root = next(parent for parent in file.parents if parent.parent.name.startswith("pytest-"))
    try:
        dataset = opened(ROOTS[name][0], root=root)
        for index in range(len(dataset)):
            for item in dataset.info(index).annotations:
                assert 1 <= item.label <= len(dataset.class_names)
                assert all(abs(value) <= 1e7 for value in item.box)
            dataset[index]
    except DetkitError:
        return  # it says what; the tests above look at the words
