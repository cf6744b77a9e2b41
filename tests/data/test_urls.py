from __future__ import annotations

import pytest

from headrace.data.dataset import Dataset
from headrace.data.urls import holds_secret, refuse_secret
from headrace.errors import InputError, WorkflowError
from headrace.packaging.registry import Registry
from headrace.runs import Workflow

TEXT = "problem: {name: toy, task: classification, target: y}\ndata: {url: '%s'}\npublish: {registry: '%s'}\n"


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:se/cr+et@bucket/data",
        "sftp://me:hunter2@host/data",
        "abfs://c@a.dfs.core.windows.net/x?sv=2024&sig=hunter2",
        "https://host/x.parquet?X-Amz-Credential=a&X-Amz-Signature=hunter2",
        "https://host/x.parquet?access_token=hunter2",
        "https://host/x.parquet?token=",
    ],
)
def test_secrets_are_refused_and_not_repeated(url: str) -> None:
    for refuse in (refuse_secret, Dataset, Registry):
        with pytest.raises(InputError, match="the URL holds a secret; leave it out") as caught:
            refuse(url)
        assert "hunter2" not in str(caught.value)
    for text, key in ((TEXT % (url, "r"), "data.url"), (TEXT % ("d", url), "publish.registry")):
        with pytest.raises(WorkflowError, match=rf"{key}: .*holds a secret.*leave it out") as wrong:
            Workflow.parse(text)
        assert "hunter2" not in str(wrong.value)
        assert "cr+et" not in str(wrong.value)


@pytest.mark.parametrize(
    "url",
    ["data", "a:b@c", "s3://bucket/a@b:c", "gs://bucket/x?page=2", "sftp://me@host/x", "http://host:80/x@y"],
)
def test_other_urls_pass(url: str) -> None:
    assert not holds_secret(url)
    assert refuse_secret(url) == url
