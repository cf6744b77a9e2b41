"""Texts to unit vectors by a local sentence model in ONNX, as sentence-transformers makes them, in bounded batches."""

from __future__ import annotations

import hashlib
import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.data.embeddings import WHERE, Embedding, require_new, require_text
from headrace.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from headrace.data.embeddings import EmbeddingOptions

TEXTS = 256
"""Texts that are tokenized at once, of about one length."""

LONGEST = 512
"""Tokens of a text that are used at most: what attention takes grows with their square."""

TOKENS = LONGEST
"""Tokens that the model is given at once."""

WORK_BYTES = 96 << 20
"""What a model of base size computes with in one thread: `TOKENS` tokens, 12 attention heads, a hidden size of 768."""

RUNTIME_BYTES = 96 << 20
"""The libraries, once they are loaded."""

COPIES_OF_A_MODEL = 2
"""The weights of the file, and the runtime's own arrangement of them."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
POOLED = "sentence_embedding"
MODULES = ("Transformer", "Pooling", "Normalize")
_LOADING = threading.Lock()


def find_embeddings(
    options: Sequence[EmbeddingOptions], schema: pa.Schema, taken: Sequence[str]
) -> tuple[Embedding, ...]:
    """Load the models that a workflow names, and learn how many columns each makes.

    Parameters
    ----------
    options : sequence of EmbeddingOptions
        As the user wrote them.
    schema : pyarrow.Schema
        Of the dataset.
    taken : sequence of str
        Names that no column may have.

    Raises
    ------
    WorkflowError
        A column is not there or holds no text; two would have one name.
    InputError
        A folder is not that of a sentence model, or gives fewer numbers than are asked for.
    MissingExtraError
        Without the extra ``embed``.
    """
    found = []
    for number, each in enumerate(options):
        where = f"{WHERE}[{number}]"
        require_text(each, schema, where)
        encoder = load_encoder(each.model, model_digest(each.model))
        width = encoder.encode(["a text"]).shape[1]
        if each.dimensions is not None and each.dimensions > width:
            raise InputError(
                f"the model {each.model} makes {width} numbers",
                where=f"{where}.dimensions", mend=f"ask for at most {width}, or leave it out",
            )  # fmt: skip
        found.append(Embedding(each.column, each.model, each.dimensions or width, encoder.digest))
    require_new(found, taken)
    return tuple(found)


def embed(embeddings: Sequence[Embedding], table: pa.Table) -> pa.Table:
    """Append the columns that models make of a table's texts; each distinct text is read once.

    Raises
    ------
    InputError
        The model on this machine is not the one that the work began with.
    """
    for each in embeddings:
        texts = table.column(each.column)
        if not pa.types.is_dictionary(texts.type):
            texts = texts.cast(pa.string()).dictionary_encode()
        texts = texts.unify_dictionaries().combine_chunks()
        if isinstance(texts, pa.ChunkedArray):  # of no rows
            texts = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
        codes = texts.indices
        used = codes.unique().drop_null()
        encoder = load_encoder(each.model, each.digest)
        vectors = encoder.encode(texts.dictionary.take(used).to_pylist(), each.dimensions)
        places = pc.index_in(codes, value_set=used, skip_nulls=True)
        for k, name in enumerate(each.names):
            table = table.append_column(name, pa.array(vectors[:, k]).take(places))
    return table


def resident_bytes(embeddings: Sequence[Embedding], threads: int) -> int:
    """Estimate what the models take of a process, with what they compute with in so many threads."""
    models = {each.model: each for each in embeddings}
    sizes = [sum(path.stat().st_size for path in _weights(Path(model).expanduser())) for model in models]
    return RUNTIME_BYTES + COPIES_OF_A_MODEL * sum(sizes) + threads * WORK_BYTES if models else 0


class Encoder:
    """A sentence model: texts to unit vectors.

    Token vectors are pooled as the folder says (``1_Pooling/config.json``: the mean over the attention mask, which is
    also taken where it does not say, or the first token) unless the model has an output ``sentence_embedding``, and
    scaled to length 1 (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019).

    Parameters
    ----------
    folder : str
        With ``model.onnx`` or ``onnx/model.onnx``, and ``tokenizer.json``.
    digest : str
        Of its files.

    Raises
    ------
    InputError
        It cannot be loaded, or takes or gives what a sentence model does not.
    MissingExtraError
        Without the extra ``embed``.
    """

    def __init__(self, folder: str, digest: str) -> None:
        try:
            import onnxruntime as ort
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError.for_extra(str(error.name), "embed") from error
        place = Path(folder).expanduser()
        self.folder, self.digest = folder, digest
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # every task has a thread of its own
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch took
        options.enable_mem_pattern = False  # a pattern is kept for every shape of a batch
        options.log_severity_level = 3
        try:
            self._tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
            self._session = ort.InferenceSession(
                str(_weights(place)[0]), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # neither library has a base of its errors
            raise InputError(f"cannot be loaded: {error}", where=folder) from error
        padding, truncation = self._tokenizer.padding, self._tokenizer.truncation
        self._pad = padding["pad_id"] if padding else 0
        self._tokenizer.no_padding()  # batches are padded to their own longest text
        said = _said(place / "sentence_bert_config.json").get("max_seq_length")
        longest = said or (truncation or {}).get("max_length") or LONGEST
        self._tokenizer.enable_truncation(min(longest, LONGEST))
        self._inputs = [each.name for each in self._session.get_inputs()]
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = POOLED if POOLED in outputs else outputs[0]
        self._first_token = self._output != POOLED and _pools_first_token(place, folder)
        unknown = sorted(set(self._inputs).difference(INPUTS))
        if unknown or INPUTS[0] not in self._inputs:
            raise InputError(
                f"the model takes {', '.join(self._inputs)}", where=folder,
                mend=f"export it so that it takes {', '.join(INPUTS)} or fewer of these",
            )  # fmt: skip

    def encode(self, texts: Sequence[str], dimensions: int | None = None) -> NDArray[np.float32]:
        """Make a unit vector of each text: shape (texts, dimensions), by default all that the model has.

        Of fewer the first ones are kept, as of models that are trained so (Kusupati et al., "Matryoshka representation
        learning", NeurIPS 2022).

        Raises
        ------
        InputError
            The model fails, or does not give one vector a text or a token.
        """
        found = np.empty((len(texts), dimensions or 0), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for places, ids, mask in self._batches(texts, by_length):
            vectors = self._vectors(ids, mask)[:, :dimensions]
            if not found.shape[1]:
                found = np.empty((len(texts), vectors.shape[1]), np.float32)
            found[places] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return found

    def _batches(
        self, texts: Sequence[str], order: list[int]
    ) -> Iterator[tuple[list[int], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield places of texts with their tokens and mask, each of shape (texts, tokens of the longest)."""
        for start in range(0, len(order), TEXTS):
            piece = order[start : start + TEXTS]
            tokens = [each.ids for each in self._tokenizer.encode_batch_fast([texts[i] for i in piece])]
            step = max(1, TOKENS // max(1, *map(len, tokens)))
            for first in range(0, len(piece), step):
                some = tokens[first : first + step]
                lengths = np.array([len(each) for each in some])
                mask = np.arange(max(1, lengths.max())) < lengths[:, None]
                ids = np.full(mask.shape, self._pad, np.int64)
                ids[mask] = np.concatenate(some)
                yield piece[first : first + step], ids, mask.astype(np.int64)

    def _vectors(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)), strict=True))
        try:
            said = self._session.run([self._output], {name: given[name] for name in self._inputs})[0]
        except Exception as error:  # the runtime has a dozen error classes that share no base
            raise InputError(f"the model fails: {error}", where=self.folder) from error
        shape = ids.shape[:1] if self._output == POOLED else ids.shape
        if said.shape[:-1] != shape:
            raise InputError(
                f"the output {self._output!r} of the model has shape {said.shape} for {ids.shape[0]} texts of {ids.shape[1]} tokens",
                where=self.folder, mend="export a sentence model: its first output are vectors of tokens",
            )  # fmt: skip
        said = np.asarray(said, np.float32)
        if self._output == POOLED:
            return said
        if self._first_token:
            return np.asarray(said[:, 0])
        summed = np.einsum("btd,bt->bd", said, mask.astype(np.float32))
        return np.asarray(summed / np.maximum(mask.sum(axis=1, keepdims=True), 1), np.float32)


def load_encoder(folder: str, digest: str) -> Encoder:
    """Return the model of a folder, loaded once a process, if it is the one that is meant.

    Raises
    ------
    InputError
        The files have another digest.
    """
    with _LOADING:  # two threads would load it twice
        return _loaded(folder, digest)


@lru_cache(maxsize=4)
def _loaded(folder: str, digest: str) -> Encoder:
    if model_digest(folder) != digest:
        raise InputError(
            f"is not the model with which the embeddings began (sha256 {digest[:12]})",
            where=folder, mend="put that model back, or begin anew",
        )  # fmt: skip
    return Encoder(folder, digest)


def model_digest(folder: str) -> str:
    """Hash the files of a model that decide about its vectors (SHA-256 in hex).

    Raises
    ------
    InputError
        One that is needed is missing.
    """
    place = Path(folder).expanduser()
    settings = ("tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json", "modules.json")
    files = [*_weights(place), *(place / name for name in settings)]
    if not files[0].exists() or not (place / settings[0]).exists():
        raise InputError(
            f"has no {'model.onnx' if not files[0].exists() else settings[0]}", where=folder,
            mend="name a folder with model.onnx (or onnx/model.onnx) and tokenizer.json",
        )  # fmt: skip
    hashed = hashlib.sha256()
    for path in files:
        if path.exists():
            with path.open("rb") as file:
                hashed.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return hashed.hexdigest()


def _weights(place: Path) -> list[Path]:
    """Name the file of a model, and after it those that hold its weights when they are too large for it."""
    model = next(
        (each for each in (place / "model.onnx", place / "onnx" / "model.onnx") if each.exists()),
        place / "model.onnx",
    )
    return [model, *sorted(model.parent.glob("model.onnx[._]*data"))]


def _pools_first_token(place: Path, folder: str) -> bool:
    """Say whether a text's vector is that of its first token, in place of the mean of all."""
    modules = [str(each["type"]).rpartition(".")[2] for each in _said(place / "modules.json") or []]
    pooling = _said(place / "1_Pooling" / "config.json")
    modes = {
        key.removeprefix("pooling_mode_")
        for key, on in pooling.items()
        if key.startswith("pooling_mode_") and on
    }
    mode = pooling.get("pooling_mode") or (
        modes.pop() if len(modes) == 1 else "mean_tokens" if not modes else ""
    )
    other = [each for each in modules if each not in MODULES]
    if other or mode not in {"mean", "mean_tokens", "cls", "cls_token"}:
        raise InputError(
            f"asks for {other[0] if other else f'pooling by {mode or sorted(modes)}'}, which is not made here",
            where=folder, mend=f"export the whole model, with an output {POOLED}",
        )  # fmt: skip
    return mode.startswith("cls")


def _said(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}
