"""Texts become the vectors that sentence-transformers makes: mean or first token, unit length, whatever the batches."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from tests.sentences import TABLE, expected, tokens_of, unit, write_model

from headrace.data.embeddings import Embedding, EmbeddingOptions
from headrace.engine import embedding
from headrace.engine.embedding import embed, find_embeddings, load_encoder, model_digest, resident_bytes
from headrace.errors import InputError, MissingExtraError, WorkflowError

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("late plane", "early", "fog ice fog ice fog", "unheard of", "", "sun train sun", "plane late")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def encode(folder: Path, texts: tuple[str, ...] = TEXTS, dimensions: int | None = None) -> Any:
    return load_encoder(str(folder), model_digest(str(folder))).encode(texts, dimensions)


def test_vectors_are_means_over_the_mask_of_unit_length(model: Path) -> None:
    found = encode(model)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(TEXTS), atol=1e-6)
    few = unit(np.array([TABLE[tokens_of(text)].mean(axis=0) for text in TEXTS])[:, :4])
    np.testing.assert_allclose(encode(model, TEXTS, 4), few, atol=1e-6)
    assert encode(model, (), 4).shape == (0, 4)


@pytest.mark.parametrize(("texts", "tokens"), [(1, 1), (2, 7), (3, 1000), (1000, 9)])
def test_batches_do_not_change_what_a_text_is(
    model: Path, monkeypatch: pytest.MonkeyPatch, texts: int, tokens: int
) -> None:
    monkeypatch.setattr(embedding, "TEXTS", texts)
    monkeypatch.setattr(embedding, "TOKENS", tokens)
    np.testing.assert_allclose(encode(model, TEXTS * 3), expected(TEXTS * 3), atol=1e-6)


def test_a_long_text_is_cut_where_the_model_says(model: Path) -> None:
    (model / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 3}))
    np.testing.assert_allclose(encode(model, ("late ice sun sun",)), expected(("late ice",)), atol=1e-6)


@pytest.mark.parametrize(
    "said", [{"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"pooling_mode": "cls"}]
)
def test_pooling_is_what_the_model_says(model: Path, said: dict[str, Any]) -> None:
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling/config.json").write_text(json.dumps(said))
    np.testing.assert_allclose(encode(model), unit(np.repeat(TABLE[[2]], len(TEXTS), axis=0)), atol=1e-6)


def test_an_output_of_sentences_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", pooled=True, inputs=("input_ids", "attention_mask"))
    found = encode(folder, ("late plane",))
    np.testing.assert_allclose(found, unit(TABLE[tokens_of("late plane")].max(axis=0)[None]), atol=1e-6)


def test_columns_are_made_of_texts_and_missing_where_these_are(model: Path) -> None:
    texts = [None, *TEXTS, "early", None]
    (made,) = find_embeddings(
        [EmbeddingOptions(column="said", model=str(model), dimensions=4)],
        pa.schema({"said": pa.string()}),
        ["said"],
    )
    assert made.names == tuple(f"said_embedding_{k}" for k in range(4))
    plain = embed([made], pa.table({"said": pa.array(texts)}))
    coded = embed([made], pa.table({"said": pa.array(texts).dictionary_encode()}))
    assert plain.select(made.names).equals(coded.select(made.names))
    assert plain["said_embedding_3"].type == pa.float32()
    assert plain["said_embedding_0"].null_count == 2
    values = np.column_stack([plain[name].to_numpy()[1:-2] for name in made.names])
    np.testing.assert_allclose(values, encode(model, TEXTS, 4))
    for kind in (pa.string(), pa.dictionary(pa.int32(), pa.string())):
        for none in (pa.schema({"said": kind}).empty_table(), pa.table({"said": pa.nulls(2, kind)})):
            assert embed([made], none)["said_embedding_3"].null_count == none.num_rows
    assert Embedding.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert resident_bytes([made], 2) > 2 * embedding.WORK_BYTES
    assert resident_bytes([], 2) == 0


def test_another_model_has_another_digest_and_is_refused(model: Path) -> None:
    before = model_digest(str(model))
    write_model(model, seed=2.0)
    assert model_digest(str(model)) != before
    with pytest.raises(InputError, match="is not the model with which the embeddings began"):
        load_encoder(str(model), before)


def test_what_is_no_sentence_model_is_refused(model: Path, tmp_path: Path) -> None:
    def find(**said: Any) -> None:
        schema = pa.schema({"said": pa.string(), "delay": pa.float64()})
        options = EmbeddingOptions(**{"column": "said", "model": str(model), **said})
        find_embeddings([options], schema, ["said", "delay", "taken_embedding_0"])

    with pytest.raises(
        WorkflowError, match=r"data\.embeddings\[0\]: there is no column 'text'; columns of text are said"
    ):
        find(column="text")
    with pytest.raises(WorkflowError, match="the column 'delay' is double"):
        find(column="delay")
    with pytest.raises(InputError, match=r"dimensions: the model .* makes 6 numbers"):
        find(dimensions=7)
    with pytest.raises(InputError, match=r"has no model\.onnx"):
        find(model=str(tmp_path / "none"))
    odd = write_model(tmp_path / "odd", inputs=("input_ids", "pixels"))
    with pytest.raises(InputError, match="the model takes input_ids, pixels; export it"):
        find(model=str(odd))
    (model / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
    with pytest.raises(InputError, match="asks for Dense"):
        find()
    (model / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="cannot be loaded"):
        find()
    (model / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        find()


def test_names_that_are_taken_are_refused(model: Path) -> None:
    options = EmbeddingOptions(column="said", model=str(model))
    schema = pa.schema({"said": pa.string()})
    with pytest.raises(
        WorkflowError, match=r"data\.embeddings\[1\]: there is a column 'said_embedding_0' already"
    ):
        find_embeddings([options, options], schema, ["said"])


def test_the_missing_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headrace\[embed\]'"):
        load_encoder(str(model), model_digest(str(model)))
