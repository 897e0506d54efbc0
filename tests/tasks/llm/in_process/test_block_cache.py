"""Which blocks of prompts are kept: those that begin alike are shared, the least recently used are dropped."""

from tasks.llm.in_process.block_cache import BLOCK, BlockCache, block_hashes, slots_of

FIRST, SECOND = list(range(3 * BLOCK + 1)), [*range(2 * BLOCK), *range(900, 900 + BLOCK + 1)]


def test_the_last_token_of_a_prompt_is_in_no_block() -> None:
    """It is always computed, since what comes after it is asked for."""
    assert [0, 0, 1, 1, 2] == [
        len(block_hashes(range(length))) for length in (1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 1)
    ]


def test_prompts_share_the_blocks_that_they_begin_with() -> None:
    """And no block after the first that differs, even where its own tokens are the same."""
    first, second = block_hashes(FIRST), block_hashes(SECOND)
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    assert not {*block_hashes(FIRST)} & {*block_hashes([7, *FIRST])}


def test_a_block_is_found_after_it_was_claimed() -> None:
    """By all prompts that begin with it; claims stop where a block is there."""
    cache, used = BlockCache(8), set[int]()
    claimed = cache.claim(block_hashes(FIRST), used)
    assert 3 == len(claimed)
    assert 3 * BLOCK == len({*slots_of(claimed).tolist()})
    assert 0 not in slots_of(claimed) // BLOCK
    assert claimed[:2] == cache.find(block_hashes(SECOND))
    assert [] == cache.claim(block_hashes(SECOND), used)


def test_the_least_recently_used_block_is_dropped_last_blocks_first() -> None:
    """A prompt's beginning is what others need longest."""
    cache = BlockCache(4)
    cache.claim(block_hashes(FIRST), set())
    cache.find(block_hashes(FIRST))
    cache.claim(block_hashes(range(500, 500 + 2 * BLOCK + 1)), set())
    assert 2 == len(cache.find(block_hashes(FIRST)))


def test_blocks_in_use_are_not_dropped() -> None:
    """There is no room then, and fewer are claimed."""
    cache, used = BlockCache(3), set[int]()
    cache.claim(block_hashes(FIRST), used)
    assert [] == cache.claim(block_hashes(range(500, 600)), used)
    assert 3 == len(cache.find(block_hashes(FIRST)))


def test_a_block_that_was_never_filled_is_forgotten() -> None:
    """Its place is free again."""
    cache = BlockCache(3)
    cache.claim(block_hashes(FIRST), set())
    cache.forget(block_hashes(FIRST))
    assert [] == cache.find(block_hashes(FIRST))
    assert 3 == len(cache.claim(block_hashes(FIRST), set()))
