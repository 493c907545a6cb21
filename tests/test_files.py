"""Files in and out: every format comes back as it was, broken ones are refused, results are whole or absent."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from yibao.files import read_table
from yibao.outputs import SUMMARY, check_output, write_outputs
from yibao_core.errors import LedgerError

ID = "370982199001010012"  # 18 digits: as a float it would end in ...000


@pytest.fixture
def table() -> pa.Table:
    return pa.table(
        {
            "person_id": pa.array([ID, "0042", None]),
            "total_fee": pa.array([Decimal("1.20"), Decimal("-3.05"), None], pa.decimal128(18, 2)),
            "category": pa.array(["低保", "特困,低保", None]).dictionary_encode(),
            "service_date": [date(2019, 1, 1)] * 3,
        }
    )


def save(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, store_decimal_as_integer=True)
    elif path.suffix == ".csv":
        pacsv.write_csv(table, path)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path))
    else:
        new = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
        with new(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


def csv_file(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(LedgerError) as caught:
        read_table(path, **options)
    assert str(path) in str(caught.value)
    assert ID not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows", ".feather"])
def test_binary_files_come_back_as_they_were(table: pa.Table, tmp_path: Path, suffix: str) -> None:
    path = save(table, tmp_path / f"ledger{suffix}")
    assert read_table(path).equals(table)
    assert read_table(path, ["total_fee"]).equals(table.select(["total_fee"]))


def test_a_stream_under_an_ipc_name_is_recognised_by_its_bytes(table: pa.Table, tmp_path: Path) -> None:
    path = save(table, tmp_path / "ledger.arrows").rename(tmp_path / "ledger.ipc")
    assert read_table(path).equals(table)


def test_a_binary_file_needs_no_suffix(table: pa.Table, tmp_path: Path) -> None:
    assert read_table(save(table, tmp_path / "a.parquet").rename(tmp_path / "ledger")).equals(table)


def test_a_folder_named_like_a_partition_adds_no_column(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "year=2019").mkdir()
    assert read_table(save(table, tmp_path / "year=2019" / "a.parquet")).column_names == table.column_names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
def test_csv_comes_as_text_in_every_encoding(tmp_path: Path, encoding: str, line: str) -> None:
    text = f'person_id,total_fee,category\n{ID},1.20,低保\n0042,1e3,"特困,低保"\n,,\n'.replace("\n", line)
    found = read_table(csv_file(tmp_path / "ledger.csv", text, encoding))
    assert set(found.schema.types) == {pa.large_string()}
    assert found.to_pydict() == {
        "person_id": [ID, "0042", None],
        "total_fee": ["1.20", "1e3", None],
        "category": ["低保", "特困,低保", None],
    }


def test_csv_text_is_taken_as_it_stands(tmp_path: Path) -> None:
    cells = ["NULL", "NaN", "true", "2019-01-01", " 1 ", '"a\nb"', '""']
    found = read_table(csv_file(tmp_path / "ledger.csv", "a,b\n" + "".join(f"{cell},x\n" for cell in cells)))
    assert found["a"].to_pylist() == ["NULL", "NaN", "true", "2019-01-01", " 1 ", "a\nb", None]


def test_csv_in_gb18030_survives_block_borders(tmp_path: Path) -> None:
    words = [f"低保户{'某' * (number % 7)}{number}" for number in range(300_000)]
    path = csv_file(tmp_path / "ledger.csv", "类别,b\n" + "".join(f"{word},1\n" for word in words), "gb18030")
    assert path.stat().st_size > 1 << 22
    assert read_table(path)["类别"].to_pylist() == words


def test_csv_columns_of_fen_are_integers(tmp_path: Path) -> None:
    found = read_table(csv_file(tmp_path / "ledger.csv", "total_fee_fen,eligible_fee_fen\n120,1.5\n,2\n"))
    assert found["total_fee_fen"].to_pylist() == [120, None]
    assert found["eligible_fee_fen"].to_pylist() == ["1.5", "2"]


def test_csv_gives_only_the_columns_asked_for(tmp_path: Path) -> None:
    assert read_table(csv_file(tmp_path / "ledger.csv", "a,b\n1,2\n"), ["b"]).to_pydict() == {"b": ["2"]}


def test_csv_with_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    found = read_table(csv_file(tmp_path / "ledger.csv", "a,b\n"))
    assert (found.num_rows, found.column_names) == (0, ["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "expected", "got"),
    [
        ("a.csv", b"", "expected CSV text", "got an empty file"),
        ("a.csv", b"\n1,2\n", "column names in the first line", "got an empty line"),
        ("a.csv", b"a,b,a\n1,2,3\n", "a: expected each column once", "got several"),
        ("a.csv", b"a\tb\n1\t2\n", "columns separated by commas", "got tabs"),
        ("a.csv", b"a;b\n1;2\n", "columns separated by commas", "got semicolons"),
        ("a.csv", f"a,b\n1,2\n{ID}\n3,4\n5,6,7\n".encode(), "record 3 (the header is 1): expected 2 cells", "got 1; 1 more"),
        ("a.csv", b"a,b\n\xff\xff\xff,1\n", "UTF-8 or GB18030", "UTF-8 breaks near byte 4"),
        ("a.csv", "a,b\n".encode("utf-16"), "expected CSV text", "UTF-16 text"),
        ("a.csv", b"PK\x03\x04rest", "expected CSV text", "an .xlsx workbook? save the sheet as CSV UTF-8"),
        ("a.csv", b"PAR1rest", "expected CSV text", "got a Parquet file"),
        ("a.xlsx", b"PK\x03\x04rest", "expected Parquet (.parquet), Arrow IPC", "an .xlsx workbook?"),
        ("a.parquet", b"a,b\n1,2\n", "expected a Parquet file", "got no file of these kinds"),
        ("a.parquet", b"PAR1 and then nothing of the kind", "expected", "Parquet"),
        ("a.arrow", b"ARROW1\0\0 and then nothing of the kind", "expected", "got"),
        ("a.dat", b"a,b\n1,2\n", "expected Parquet (.parquet)", "got no file of these kinds"),
    ],
)  # fmt: skip
def test_an_unusable_file_is_refused_in_words(
    tmp_path: Path, name: str, content: bytes, expected: str, got: str
) -> None:
    (tmp_path / name).write_bytes(content)
    message = refusal(tmp_path / name)
    assert expected in message
    assert got in message


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.csv")
    assert "expected a file, got a directory" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_a_missing_column_is_named(table: pa.Table, tmp_path: Path, suffix: str) -> None:
    path = save(table, tmp_path / f"a{suffix}")
    message = refusal(path, columns=["person_id", "from", "to"])
    assert message.count("expected a column") == 2
    assert "from: expected a column, got only person_id, total_fee" in message


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".arrows"])
def test_a_cut_off_file_is_refused(table: pa.Table, tmp_path: Path, suffix: str) -> None:
    path = save(table, tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[:-200])
    refusal(path)


def test_text_that_is_no_utf8_is_refused_in_a_parquet_file(tmp_path: Path) -> None:
    gbk = pa.array(["低保".encode("gbk")], pa.binary())
    view = pa.Array.from_buffers(pa.string(), 1, gbk.buffers())
    path = save(pa.table({"category": view}), tmp_path / "a.parquet")
    assert "damaged" in refusal(path)


def test_outputs_are_written_and_listed(table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    written = write_outputs(
        out, {"transfers": table, "deltas": table}, {"transfers"}, {"rows": 3, "D": Decimal("1.20")}
    )
    names = ["deltas.parquet", "summary.json", "transfers.csv", "transfers.parquet"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert written.files == {name: (out / f"{name}.parquet",) for name in ("deltas", "transfers")}
    assert read_table(out / "transfers.parquet").equals(table)
    assert written.table("transfers").equals(table)
    assert written.reader("deltas").read_all().equals(table)
    with pytest.raises(KeyError, match="expected one of deltas, transfers"):
        written.table("settled")
    text = (out / "transfers.csv").read_bytes()
    assert not text.startswith(b"\xef\xbb\xbf")
    assert read_table(out / "transfers.csv")["person_id"].to_pylist() == [ID, "0042", None]
    assert read_table(out / "transfers.csv")["total_fee"].to_pylist() == ["1.20", "-3.05", None]
    summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
    assert summary == {"rows": 3, "D": "1.20", "files": names[:1] + names[2:]}
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_outputs_take_the_place_of_earlier_ones_as_a_whole(table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_outputs(out, {"a": table, "b": table}, {"a"}, {})
    write_outputs(out, {"a": table}, set(), {})
    assert sorted(path.name for path in out.iterdir()) == ["a.parquet", "summary.json"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_write_leaves_what_was_there(table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    unwritable = pa.table({"lists": [[1]]})  # CSV has no lists
    with pytest.raises(pa.ArrowException):
        write_outputs(out, {"a": table, "b": unwritable}, {"b"}, {})
    assert list(tmp_path.iterdir()) == []
    write_outputs(out, {"a": table}, set(), {"run": 1})
    with pytest.raises(pa.ArrowException):
        write_outputs(out, {"a": table, "b": unwritable}, {"b"}, {"run": 2})
    assert list(tmp_path.iterdir()) == [out]
    assert json.loads((out / SUMMARY).read_text())["run"] == 1


@pytest.mark.parametrize("name", ["notes.txt", "a.csv", "a.parquet/x"])
def test_a_directory_with_anything_else_in_it_is_left_alone(table: pa.Table, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    write_outputs(out, {"b": table}, set(), {})
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(LedgerError, match=r"got (notes\.txt|a\.csv|a\.parquet/x) in it"):
        write_outputs(out, {"b": table}, set(), {})
    assert (out / name).read_text() == "mine"


def test_a_directory_that_others_filled_is_left_alone(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "ledger.parquet").write_text("mine")
    with pytest.raises(LedgerError, match=r"got ledger\.parquet in it"):
        write_outputs(tmp_path, {"ledger": table}, set(), {})
    with pytest.raises(LedgerError, match="expected a directory to write to, got a file"):
        write_outputs(tmp_path / "ledger.parquet", {}, set(), {})
    (tmp_path / "empty").mkdir()
    assert check_output(tmp_path / "empty") == tmp_path / "empty"


def test_an_input_inside_the_output_directory_is_refused(table: pa.Table, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_outputs(out, {"transfers": table}, set(), {})
    with pytest.raises(LedgerError, match="expected an input outside"):
        check_output(out, [out / "transfers.parquet"])
    check_output(tmp_path / "second", [out / "transfers.parquet"])


def test_a_link_to_a_directory_stays_a_link(table: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "out"
    link.symlink_to("real")
    write_outputs(link, {"a": table}, set(), {})
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.parquet").exists()
