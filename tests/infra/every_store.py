"""Every kind of object store that the one contract is held against, by the fixtures `store` of conftest."""

import pytest

#: Ceph twice: in the clear, and with what the server encrypts, whose etags and ranges are another matter there.
EVERY_STORE = pytest.mark.parametrize(
    "store",
    [
        "local",
        "s3",
        pytest.param("ceph", marks=pytest.mark.cluster),
        pytest.param("encrypted_ceph", marks=pytest.mark.cluster),
    ],
    indirect=True,
)
