"""How many samples the App says a run has: each once, not once for every slice."""

from __future__ import annotations

from typing import Any

__all__ = ["count_samples_not_slices"]


def count_samples_not_slices() -> None:
    """Have FiftyOne's server, in this process, count the samples of a grouped dataset.

    It counts the documents of its collection: three a sample, one for each slice.
    """
    from fiftyone.server import query

    count = query._assign_estimated_counts

    def count_groups(shown: Any, dataset: Any) -> None:
        """Note in ``shown``, what the App gets, how many samples a ``dataset`` has."""
        count(shown, dataset)
        if dataset.group_field:
            one_each = {f"{dataset.group_field}.name": dataset.default_group_slice}
            shown.estimated_sample_count = dataset._sample_collection.count_documents(one_each)

    query._assign_estimated_counts = count_groups
