"""A sentence model of ten words, so small that what it makes is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from headrace.engine.embedding import INPUTS

if TYPE_CHECKING:
    from pathlib import Path

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
tokenizers = pytest.importorskip("tokenizers")

WORDS = ("[PAD]", "[UNK]", "[CLS]", "late", "early", "plane", "train", "fog", "ice", "sun")
WIDTH = 6
TABLE = np.random.default_rng(3).normal(size=(len(WORDS), WIDTH)).astype(np.float32)


def write_model(
    folder: Path, *, pooled: bool = False, inputs: tuple[str, ...] = INPUTS, seed: float = 1.0
) -> Path:
    """A sentence model whose token vectors are rows of a table, and its tokenizer, that adds [CLS] before a text."""
    from onnx import TensorProto, helper

    folder.mkdir(parents=True, exist_ok=True)
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs]
    last = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    said = [last]
    if pooled:
        nodes.append(
            helper.make_node("ReduceMax", ["last_hidden_state", "axes"], ["sentence_embedding"], keepdims=0)
        )
        said.append(helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", WIDTH]))
    constants = [
        helper.make_tensor("table", TensorProto.FLOAT, TABLE.shape, (seed * TABLE).ravel()),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    graph = helper.make_graph(nodes, "tiny", given, said, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "model.onnx"))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A", special_tokens=[("[CLS]", 2)]
    )
    tokenizer.enable_padding(length=12)  # as exports have it; batches are padded to their own longest text
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def tokens_of(text: str) -> list[int]:
    return [2, *(WORDS.index(word) if word in WORDS else 1 for word in text.split())]


def unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def expected(texts: tuple[str, ...]) -> Any:
    return unit(np.array([TABLE[tokens_of(text)].mean(axis=0) for text in texts]))
