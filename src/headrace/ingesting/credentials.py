"""Credentials come from the environment alone, and no text that leaves an ingest holds one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote

from headrace.errors import WorkflowError

VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
USERINFO = re.compile(r"(\w[\w+.-]*://[^/\s:@]*):[^/\s@]+@")


@dataclass
class Secrets:
    """Puts in the values of ``${VARIABLE}``, and takes them out again of whatever is told or written."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    """Variables that were used, with their values."""

    def expand(self, text: str, key: str) -> str:
        """Put in the values of variables.

        Raises
        ------
        WorkflowError
            A variable is not set, or empty.
        """

        def value(match: re.Match[str]) -> str:
            found = os.environ.get(match[1], "")
            if not found:
                raise WorkflowError(
                    f"the environment has no variable {match[1]}",
                    where=key,
                    mend=f"set it before the ingest: export {match[1]}=...",
                )
            self.values[match[1]] = found
            return found

        return VARIABLE.sub(value, text)

    def hide(self, text: str) -> str:
        """Write variables in place of their values, in whichever way a URL may write them, and no passwords of URLs."""
        for name, value in sorted(self.values.items(), key=lambda item: -len(item[1])):
            for form in {value, quote(value, safe=""), quote(value), quote_plus(value), unquote(value)}:
                text = text.replace(form, f"${{{name}}}")
        return USERINFO.sub(r"\1:***@", text)
