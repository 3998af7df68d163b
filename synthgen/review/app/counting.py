"""How many samples the App says a run has: each once, not once for every slice."""

from __future__ import annotations

from typing import Any

__all__ = ["count_samples_not_slices"]


def count_samples_not_slices() -> None:
    """Have FiftyOne's server, in this process, count the samples of a grouped dataset.

    It counts the documents of its collection: three a sample, one for each slice.
    """
    from fiftyone.server.query import Dataset

    definition = Dataset.__strawberry_definition__
    (field,) = (one for one in definition.fields if one.python_name == "estimated_sample_count")
    resolver = field.base_resolver
    count = resolver.wrapped_func

    async def estimated_sample_count(self: Any, info: Any = None) -> int:
        """Return how many groups a grouped dataset has, or how many samples another one."""
        if not self.group_field:
            return int(await count(self, info))
        one_each = {f"{self.group_field}.name": self.default_group_slice}
        samples = info.context.db[self.sample_collection_name]
        return int(await samples.count_documents(one_each))

    resolver.wrapped_func = estimated_sample_count
