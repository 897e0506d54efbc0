-- One row per coder of a run: its features, how many of them never fired and how many fired fewer than $rare times, and
-- of the others how many are positional and unigram features. `tokens`: those on which features can fire; null where
-- none fired. Both kinds are null where all features lack their columns, which older versions of gloss did not write.
select
    coder,
    max(round(firings / nullif(density, 0)))::bigint as tokens,
    count(*) as features,
    count(*) filter (where firings = 0) as silent,
    count(*) filter (where firings < $rare) as rare,
    if(
        count(position_information) = 0,
        null,
        count(*) filter (where firings >= $rare and position_information > $positional)
    ) as positional,
    if(
        count(strong_tokens) = 0,
        null,
        count(*) filter (where firings >= $rare and strong_tokens <= $unigram_tokens)
    ) as unigram
from features
group by coder
order by coder
