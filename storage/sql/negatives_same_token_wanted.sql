-- Temporary table `wanted_tokens`: one row per feature of $lacking and token: the $most_tokens tokens on which it fires
-- most, counted over $most_firings of its firings at random. Needs `firings`; $tokens: parts of `tokens`.
create or replace temporary table wanted_tokens as
with sampled as (
    select firings.*
    from firings
    where firings.feature in (select unnest($lacking))
    qualify row_number() over (
        partition by firings.feature
        order by
            hash(firings.feature, firings.sequence, firings.position, $seed), firings.sequence, firings.position
    ) <= $most_firings
),

counted as (
    select
        sampled.feature,
        read.tokens[sampled.position + 1] as token,
        count(*) as firings
    from sampled
    inner join read_parquet($tokens, hive_partitioning = false) as read on sampled.sequence = read.sequence
    group by all
)

select *
from counted
qualify row_number() over (partition by feature order by firings desc, token) <= $most_tokens
