"""Samples as no document describes them, for properties that must hold of any."""

from __future__ import annotations

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([10**20, 2**63, 0.5, 1.0, -0.0, 1e16, float("nan"), float("inf")])
    | st.sampled_from(
        ["", " ", "rose", "0.9", "true", "False", "1", "1-2", "\ud800", "é", "None", "s3://b/k", "http://x?a=b"]
    )
)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "@modelarts:hard": ANYTHING,
        "@modelarts:hard_reasons": ANYTHING,
        "@modelarts:shape": ANYTHING,
        "@modelarts:feature": ANYTHING,
        "color": ANYTHING,
    },
)
LABELS = st.fixed_dictionaries(
    {},
    optional={"name": ANYTHING, "type": ANYTHING, "score": ANYTHING, "id": ANYTHING, "property": PROPERTIES | ANYTHING},
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "@modelarts:hard": ANYTHING,
        "@modelarts:hard_reasons": ANYTHING,
        "@modelarts:size": ANYTHING,
        "@modelarts:origin_source": ANYTHING,
        "@modelarts:new_source": ANYTHING,
    },
)
SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "sample_id": ANYTHING,
        "labels": st.lists(LABELS | ANYTHING, max_size=3) | ANYTHING,
        "score": ANYTHING,
        "annotated_by": ANYTHING,
        "worker_id": ANYTHING,
        "source": ANYTHING,
        "metadata": METADATA | ANYTHING,
        "sample_type": ANYTHING,
    },
)
