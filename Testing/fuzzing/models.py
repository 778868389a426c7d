"""Bundles, their plans and data sets, calibrators and sketches with other structures than they should have."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzzing import shapes
from fuzzing.harness import Kind
from twintrack.dicom.read.headers import is_zip

ROI = (4, 20, 4, 20, 3, 13)
SHARE_OF_RUNS = 0.5
"""Of the bundles that open and pass their check, this share segments a CT; a third of them by both stages."""


def prepare(folder: Path) -> None:
    """Write a bundle of the demo's models with one member, and a small CT."""
    from fuzzing.volumes import array
    from twintrack.bundle.model_bundle import demo_bundle_path
    from twintrack.io.volumes import write_volume
    from twintrack.volume import Geometry, Volume

    bundle = shutil.copytree(demo_bundle_path(), folder / "bundle", ignore=shutil.ignore_patterns("fold_1", "fold_2"))
    document = json.loads((bundle / "bundle.json").read_text())
    document["fine"]["folds"] = ["0"]
    document["files"] = {name: digest for name, digest in document["files"].items() if (bundle / name).exists()}
    (bundle / "bundle.json").write_text(json.dumps(document))
    write_volume(Volume(array(), Geometry((24, 24, 16), (1.5, 1.6, 3.0))), folder / "ct.nii.gz")


def hash_anew(bundle: Path) -> None:
    """Write the true hash of each file into ``bundle.json``."""
    document = json.loads((bundle / "bundle.json").read_text())
    for name in document["files"]:
        if (bundle / name).is_file():
            document["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "bundle.json").write_text(json.dumps(document))


def linked(seeds: Path, folder: Path) -> Path:
    """Return a copy of the bundle that shares the weights with the seed."""

    def copy(source: str, target: str) -> None:
        (os.link if source.endswith(".pth") else shutil.copy)(source, target)

    return shutil.copytree(seeds / "bundle", folder / "bundle", copy_function=copy)


def _rewrite(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # it may be a link to the seed
    path.write_bytes(content)


def make_bundle(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a bundle with another document, other files, weights or calibrator."""
    bundle = linked(seeds, folder)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        way = rng.choice(
            ("document",) * 4 + ("weights",) * 3 + ("calibrator", "file", "file", "swap", "empty", "special")
        )
        _change_bundle(rng, bundle, way, seeds)
    return bundle


def _change_bundle(rng: Random, bundle: Path, way: str, seeds: Path) -> None:
    document, files = bundle / "bundle.json", sorted(path for path in bundle.rglob("*") if path.is_file())
    others = [path for path in files if path != document] or files
    if not files:
        return
    chosen = rng.choice(others)
    if way == "document":
        try:
            content = json.loads(document.read_bytes())
        except (OSError, ValueError, RecursionError):
            return
        _rewrite(document, shapes.as_bytes(rng, shapes.bent(rng, content)))
        return
    if way == "weights":
        path = bundle / rng.choice(("fine", "coarse")) / "fold_0" / "checkpoint_final.pth"
        if path.is_file() and is_zip(path):
            _rewrite(path, _weights(rng, path))
    elif way == "calibrator":
        path = bundle / "calibrator.json"
        if path.exists():
            _rewrite(
                path, shapes.as_bytes(rng, shapes.bent(rng, json.loads((seeds / "bundle/calibrator.json").read_text())))
            )
    elif way == "file":
        _one_file(rng, bundle, chosen)
    elif way == "swap" and others:
        content = chosen.read_bytes()
        _rewrite(rng.choice(others), content)
    elif way == "empty":
        _rewrite(chosen, b"")
    elif way == "special":
        chosen.unlink()
        target = rng.choice(("pipe", "/dev/zero", "/etc/passwd", chosen.name, "nowhere", "folder"))
        if target == "pipe":
            os.mkfifo(chosen)
        elif target == "folder":
            chosen.mkdir()
        else:
            chosen.symlink_to(target)
    if rng.random() < 0.75:
        try:
            hash_anew(bundle)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # there is no document any more that could be kept right


def _one_file(rng: Random, bundle: Path, chosen: Path) -> None:
    action = rng.choice(("remove", "extra", "cut", "folder", "link", "many", "below"))
    if action == "remove":
        chosen.unlink()
    elif action == "extra":
        name = rng.choice(("notes.txt", ".DS_Store", "x.py", "fine/model.pkl", "Thumbs.db", "\x1b[2J", "line\nbreak"))
        (bundle / name).write_bytes(b"x")
    elif action == "cut":
        _rewrite(chosen, chosen.read_bytes()[: rng.randint(0, chosen.stat().st_size)])
    elif action == "folder":
        (bundle / rng.choice(("empty", "fine/fold_9", "fine/bundle.json"))).mkdir(exist_ok=True)
    elif action == "link":
        (bundle / "loop").symlink_to(rng.choice((".", "..", "loop", "/")))
    elif action == "many":
        for number in range(2000):
            (bundle / f"n{number}").touch()
    else:
        deep = bundle / "/".join(["d"] * 200)
        deep.mkdir(parents=True, exist_ok=True)
        (deep / "x").touch()


def _weights(rng: Random, path: Path) -> bytes:
    """Return a checkpoint that is another archive, or holds other objects."""
    import torch

    whole = path.read_bytes()
    way = rng.choice(("tensors", "tensors", "objects", "entries", "entries", "pickle", "cut", "bytes", "huge", "deep"))
    if way == "cut":
        return whole[: rng.randint(0, len(whole))]
    if way == "bytes":
        at = rng.randrange(len(whole))
        return whole[:at] + rng.randbytes(8) + whole[at + 8 :]
    if way == "entries":
        return _entries(rng, whole)
    if way == "pickle":
        return rng.choice(
            (
                pickle.dumps({"network_weights": {}}),
                pickle.dumps(_Dangerous()),
                b"\x80\x02",
                b"\x80\x05]" + b"]" * 10**6,
            )
        )
    checkpoint = torch.load(io.BytesIO(whole), map_location="cpu", weights_only=False)
    weights = checkpoint["network_weights"]
    name = rng.choice(list(weights))
    tensor = weights[name]
    if way == "tensors":
        odd = (tensor.double(), tensor.half(), tensor.int(), tensor.reshape(-1), tensor[:0], tensor * float("nan"))
        more = (tensor.unsqueeze(0), torch.zeros(1).expand(10**9), tensor.to_sparse(), tensor.cfloat(), tensor * 1e30)
        weights[name] = rng.choice((*odd, *more, torch.zeros(1).as_strided((2**20, 2**10), (0, 0)), tensor.bool()))
        if rng.random() < 0.3:
            weights[rng.choice(("x", name + ".x", "", "module." + name))] = weights.pop(name)
    elif way == "objects":
        weights[name] = shapes.odd(rng)
        if rng.random() < 0.5:
            checkpoint = shapes.odd(rng) if rng.random() < 0.3 else {**checkpoint, "network_weights": shapes.odd(rng)}
    elif way == "huge":
        extra = torch.zeros(1).expand(rng.choice((10**6, 2**33)))
        checkpoint[rng.choice(("optimizer_state", "x"))] = [extra] * rng.choice((1, 1000))
    else:
        checkpoint["logging"] = shapes.nested(rng, 0, rng.choice((100, 300)))
    stream = io.BytesIO()
    try:
        torch.save(checkpoint, stream, _use_new_zipfile_serialization=rng.random() < 0.9)
    except (RuntimeError, ValueError, NotImplementedError, TypeError, UnicodeError, OverflowError, RecursionError):
        return whole[:100]
    return stream.getvalue()


class _Dangerous:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch code-ran",)


def _entries(rng: Random, whole: bytes) -> bytes:
    """Return the archive of a checkpoint with its entries removed, swapped, lengthened or made bombs."""
    from fuzzing.archives import Entry, change, written

    try:
        with zipfile.ZipFile(io.BytesIO(whole)) as archive:
            entries = [Entry(info.filename.encode(), archive.read(info), 0) for info in archive.infolist()]
    except zipfile.BadZipFile:  # a change before this one broke it
        return whole
    for _ in range(rng.choice((1, 1, 2))):
        change(rng, entries)
    return written(rng, entries, odd=rng.random() < 0.2)


ARCHITECTURE_WORDS = (
    "stride",
    "device",
    "dtype",
    "eps",
    "affine",
    "padding",
    "bias",
    "strides",
    "squeeze_excitation",
    "pool",
)


def make_plans(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a bundle whose plans or data set has other numbers, lists and words, and right hashes."""
    bundle = linked(seeds, folder)
    for _ in range(rng.choice((1, 1, 1, 2))):
        path = bundle / rng.choice(("fine", "fine", "coarse")) / rng.choice(("plans.json",) * 4 + ("dataset.json",))
        content = json.loads(path.read_bytes())
        way = rng.choice(
            ("bent", "numbers", "numbers", "architecture", "architecture", "old", "inherit", "text", "lists")
        )
        content = _plans(rng, content, way)
        _rewrite(
            path,
            shapes.as_bytes(rng, content) if way == "text" else json.dumps(content).encode("utf-8", "surrogatepass"),
        )
        if way == "text":
            break
    hash_anew(bundle)
    return bundle


def _plans(rng: Random, content: Any, way: str) -> Any:
    configuration = content.get("configurations", {}).get("3d_fullres", {})
    architecture = configuration.get("architecture", {}).get("arch_kwargs", {})
    if not architecture or way in ("bent", "text"):
        return shapes.bent(rng, content)
    if way == "numbers":
        inner = rng.choice((configuration, configuration, architecture, content))
        places = [(holder, key) for holder, key in shapes.spots(inner) if type(holder[key]) in (int, float)]
        holder, key = rng.choice(places)
        holder[key] = rng.choice(shapes.NUMBERS)
        if isinstance(holder, list) and rng.random() < 0.3:
            holder[:] = [holder[key]] * len(holder)
    elif way == "architecture":
        name = rng.choice(list(architecture))
        value = rng.choice((shapes.odd(rng), shapes.bent(rng, [architecture[name]], times=1)))
        architecture[rng.choice((name, name, name, rng.choice(ARCHITECTURE_WORDS)))] = value
        if rng.random() < 0.2:  # all lists of stages another length
            count = rng.choice((0, 1, 2, 7, 12, 40, 1000))
            architecture["n_stages"] = count
            for key, old in list(architecture.items()):
                if isinstance(old, list) and old:
                    size = count - (key == "n_conv_per_stage_decoder")
                    architecture[key] = [old[min(n, len(old) - 1)] for n in range(max(0, size))]
    elif way == "old":
        del configuration["architecture"]
        old = {
            "UNet_class_name": rng.choice(("PlainConvUNet", "ResidualEncoderUNet", "x")),
            "UNet_base_num_features": 8,
        }
        old |= {"n_conv_per_stage_encoder": [2] * 4, "n_conv_per_stage_decoder": [2] * 3, "unet_max_num_features": 64}
        old |= {"num_pool_per_axis": [3, 3, 3], "pool_op_kernel_sizes": architecture["strides"]}
        old |= {"conv_kernel_sizes": architecture["kernel_sizes"]}
        configuration |= shapes.bent(rng, old) if rng.random() < 0.8 else old
    elif way == "inherit":
        name = rng.choice(("3d_fullres", "b", None, 1, "", [], "3d_lowres"))
        configuration["inherits_from"] = name
        content["configurations"]["b"] = rng.choice(
            ({}, {"inherits_from": "3d_fullres"}, {"inherits_from": "b"}, [], None)
        )
        if rng.random() < 0.3:
            chain = {f"c{n}": {"inherits_from": f"c{n + 1}"} for n in range(rng.choice((10, 20_000)))}
            content["configurations"] |= chain
            configuration["inherits_from"] = "c0"
    else:
        lists = [(holder, key) for holder, key in shapes.spots(configuration) if isinstance(holder[key], list)]
        holder, key = rng.choice(lists)
        items = holder[key]
        holder[key] = rng.choice(
            (items * 2, items[:-1], [items], items * 1000, list(reversed(items)), [str(i) for i in items])
        )
    return content


def read_bundle(made: object, folder: Path) -> None:
    """Open the bundle, describe it, build its networks; a share segments a CT."""
    from twintrack.bundle.describe import bundle_text
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.studies.make_bundle.create import check_bundle

    with Bundle.open(Path(str(made))) as bundle:
        about = bundle.describe()
        json.dumps(about)
        bundle_text(about)
        check_bundle(bundle)
        digest = int(bundle.sha256[:8], 16) / 2**32
        if digest < SHARE_OF_RUNS:
            _segment(bundle, folder, "auto" if digest < SHARE_OF_RUNS / 3 else ROI)
    assert not (folder / "code-ran").exists(), "the bundle ran code"


def _segment(bundle: Any, folder: Path, roi: Any) -> None:
    from twintrack.io.volumes import read_volume
    from twintrack.pipeline import segment
    from twintrack.settings import SegmentSettings

    ct = read_volume(folder.parents[1] / "seeds" / "ct.nii.gz")
    found = segment(ct, bundle, SegmentSettings(roi=roi, device="cpu", backend="torch"))
    assert np.isfinite(found.probability.array).all()
    assert 0 <= found.probability.array.min() <= found.probability.array.max() <= 1


def bundle_command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Verify the bundle, or segment with it."""
    if (
        sum((Path(str(made)) / "bundle.json").read_bytes() if (Path(str(made)) / "bundle.json").is_file() else b"") % 4
        == 0
    ):
        ct, roi = folder.parents[1] / "seeds" / "ct.nii.gz", ",".join(map(str, ROI))
        return [
            "segment",
            str(ct),
            "--bundle",
            str(made),
            "--out",
            str(folder / "out"),
            "--roi",
            roi,
            "--device",
            "cpu",
        ], b""
    return ["bundle", "verify", str(made)], b""


def load_networks() -> None:
    """Import what builds and runs networks; nothing is run here, so that no thread is lost in a child."""
    import torch

    torch.set_num_threads(1)
    from twintrack.inference import import_packages

    import_packages()


# Calibrators and sketches


def make_calibrator(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a calibrator with other fields, counts and numbers."""
    content = json.loads((seeds / "bundle" / "calibrator.json").read_text())
    path = folder / "calibrator.json"
    if rng.random() < 0.2:  # long, and consistent
        count = rng.choice((1, 2, 3, 1000, 100_000))
        knots = content["knots"]
        knots["score"], knots["mhr"] = np.linspace(0, 1, count).tolist(), np.linspace(0, 1, count).tolist()
        content["bins_used"] = count
        content["bin_counts"] = [1] * count
    path.write_bytes(shapes.as_bytes(rng, shapes.bent(rng, content) if rng.random() < 0.97 else content))
    return path


def read_calibrator(made: object, folder: Path) -> None:
    """Read the calibrator and use it."""
    from twintrack.calibration import calibrator_to_json, read_calibrator

    calibrator = read_calibrator(Path(str(made)))
    scores = np.linspace(0, 1, 101, dtype=np.float32).reshape(1, 1, -1)
    found = calibrator(scores)
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1
    json.dumps(calibrator_to_json(calibrator))
    interval = calibrator.sum_interval(scores)
    assert interval is None or np.isfinite(interval).all()


def calibrator_command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Apply the calibrator to a score."""
    score = folder.parents[1] / "seeds" / "score.nii.gz"
    return ["apply", str(score), "--calibrator", str(made), "--out", str(folder / "out.nii.gz")], b""


def prepare_calibrator(folder: Path) -> None:
    """Write the demo's calibrator and a score."""
    from fuzzing import manifests

    prepare(folder)
    manifests_folder = folder / "volumes"
    manifests_folder.mkdir()
    manifests.prepare(manifests_folder)
    shutil.move(manifests_folder / "score.nii.gz", folder / "score.nii.gz")


def prepare_sketch(folder: Path) -> None:
    """Write a sketch of two cases."""
    from twintrack.calibration import ScoreSketch
    from twintrack.calibration.sketch_file import save_sketch

    sketch, rng = ScoreSketch.empty(), np.random.default_rng(1)
    for _ in range(2):
        score = rng.uniform(0, 1, 3000).astype(np.float32)
        sketch.add(score, [rng.uniform(size=3000) < score, rng.uniform(size=3000) < score])
    save_sketch(sketch, folder / "sketch.npz")


def make_sketch(rng: Random, seeds: Path, folder: Path) -> Path:
    """Write a sketch with other arrays, or another archive."""
    from fuzzing.archives import Entry, change, written

    path = folder / "sketch.npz"
    with np.load(seeds / "sketch.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    way = rng.choice(("about", "arrays", "arrays", "archive", "archive", "header", "header"))
    if way == "about":
        about = shapes.bent(rng, json.loads(str(arrays["about"])))
        arrays["about"] = np.array(shapes.as_bytes(rng, about).decode("utf-8", "replace").replace("\0", ""))
    elif way == "arrays":
        name = rng.choice(list(arrays))
        arrays[name] = _other_array(rng, arrays[name])
        if rng.random() < 0.2:
            del arrays[rng.choice(list(arrays))]
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    with zipfile.ZipFile(stream) as archive:
        entries = [Entry(info.filename.encode(), archive.read(info)) for info in archive.infolist()]
    if way == "archive":
        for _ in range(rng.choice((1, 1, 2))):
            change(rng, entries)
    elif way == "header":
        at = rng.randrange(len(entries))
        entries[at] = Entry(entries[at].name, _npy(rng, entries[at].content))
    path.write_bytes(written(rng, entries, odd=way == "archive" and rng.random() < 0.3))
    return path


def _other_array(rng: Random, array: np.ndarray) -> np.ndarray:
    """Return an array of another shape, kind or size of numbers."""
    if array.dtype.kind == "U" or array.ndim == 0:
        return rng.choice((np.array(3), array[None], np.array("{}"), np.array(["a", "b"])))
    odd = (array[..., :-1], array[None], array * 0, array.T, np.repeat(array, 50, axis=0), np.array(0), np.zeros((0,)))
    with np.errstate(all="ignore"):
        kinds = [array.astype(kind) for kind in ("f2", "U20", "c16", ">i8", "u1", "?")]
    filled = (np.full(array.shape, 2**62), np.full(array.shape, np.nan), np.full(array.shape, -1))
    return rng.choice((*odd, *kinds, *filled, np.zeros(array.shape, [("a", "i4")])))


def _npy(rng: Random, content: bytes) -> bytes:
    """Return an array file with another header."""
    header = content[10 : 10 + int.from_bytes(content[8:10], "little")].decode("latin-1")
    shape = header[header.index("(") : header.index(")") + 1]
    shapes_ = (
        "(10**9,)",
        "(4000000000,)",
        "(-1,)",
        "(2**62, 4)",
        "()",
        "(1,)*40",
        "(100000, 100000)",
        "(1.5,)",
        "(" * 3000,
    )
    kinds = (
        "'|O'",
        "'<i3'",
        "'<U1000000000'",
        "'<V8'",
        "[('a', '<i8')]",
        "'<M8[ns]'",
        "'<f16'",
        "'x'",
        "None",
        "'|S0'",
    )
    choices = (header.replace(shape, rng.choice(shapes_)), header.replace("False", rng.choice(("True", "0", "None"))))
    kind = header.split("'descr': ")[1].split(", 'fortran")[0]
    changed = rng.choice(
        (*choices, header.replace(kind, rng.choice(kinds)), "{" * 500, "{}", "", header + " " * 60_000, "1" * 9000)
    )
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    size = (
        len(changed.encode()).to_bytes(2 if version[0] == 1 else 4, "little", signed=False)
        if len(changed) < 65536
        else b"\xff\xff"
    )
    return content[:6] + version + size + changed.encode() + content[10 + len(header) :]


def read_sketch(made: object, folder: Path) -> None:
    """Load the sketch, and fit a calibrator to it."""
    from twintrack.calibration.sketch_file import load_sketch
    from twintrack.studies.calibrate import fit_sketch

    sketch = load_sketch(Path(str(made)))
    calibrator = fit_sketch(sketch, target="mhr", bins=20, resamples=5, seed=0, where=str(made))
    assert np.isfinite(calibrator.knots_y).all()


def sketch_command(made: object, folder: Path) -> tuple[list[str], bytes]:
    """Fit a calibrator to the sketch."""
    return ["calibrate", str(made), "--out", str(folder / "out.json"), "--bootstrap", "20"], b""


def load_calibration() -> None:
    """Import what reads calibrators and sketches, and fits."""
    import sklearn.isotonic  # noqa: F401

    import twintrack.calibration.sketch_file
    import twintrack.studies.calibrate  # noqa: F401


BUNDLE = Kind("bundle", prepare, make_bundle, read_bundle, bundle_command, load_networks)
PLANS = Kind("plans", prepare, make_plans, read_bundle, bundle_command, load_networks)
CALIBRATOR = Kind(
    "calibrator", prepare_calibrator, make_calibrator, read_calibrator, calibrator_command, load_calibration
)
SKETCH = Kind("sketch", prepare_sketch, make_sketch, read_sketch, sketch_command, load_calibration)
