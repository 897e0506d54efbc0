"""A cross-layer decoder is summed over the layers it writes to, a block of features at a time."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from storage.errors import WrongRequest
from tasks.coders import tensors
from tests.tasks.coders.checkpoints import D_IN, WIDTH, random


@pytest.mark.parametrize("block", [1, 4 * 3 * D_IN * 10, 2**26])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_blocks_do_not_change_the_sum(
    tmp_path: Path, block: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any block gives the sum over layers, taken in float32."""
    decoder = random(WIDTH, 3, D_IN).to(dtype)
    save_file({"W_dec_1": decoder}, tmp_path / "file")
    monkeypatch.setattr(tensors, "BLOCK_BYTES", block)

    result = tensors.summed_decoder(tmp_path / "file", "shown", "W_dec_1", WIDTH, D_IN)

    torch.testing.assert_close(result, decoder.float().sum(1))


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (random(WIDTH, D_IN), r"W_dec_1 has shape \[64, 16\], where \[64, 1, 16\] is expected"),
        (random(WIDTH, 3, D_IN + 1), r"W_dec_1 has shape \[64, 3, 17\], where \[64, 3, 16\] is expected"),
        (torch.full((WIDTH, 3, D_IN), torch.inf), "W_dec_1 holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_is_refused(tmp_path: Path, decoder: torch.Tensor, message: str) -> None:
    """A tensor that is misshapen or not finite is named with its file."""
    save_file({"W_dec_1": decoder}, tmp_path / "file")

    with pytest.raises(WrongRequest, match=f"shown.* {message}"):
        tensors.summed_decoder(tmp_path / "file", "shown", "W_dec_1", WIDTH, D_IN)
