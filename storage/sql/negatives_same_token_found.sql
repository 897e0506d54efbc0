-- Adds to `found` one row per feature of $asked and silent window of the searched sequences that contains one of its
-- tokens, one for each text: of each token $places windows at random, the same ones for every feature. Searched are
-- the blocks $blocks of $block sequences; $tokens: the parts of `tokens` that hold them. Needs `wanted`, `texts` and
-- `fired`.
insert into found
with asking as (
    select *
    from wanted
    where feature in (select unnest($asked))
),

occurrences as (
    select
        sequence,
        unnest(tokens) as token,
        generate_subscripts(tokens, 1) - 1 as position
    from read_parquet($tokens, hive_partitioning = false)
    where sequence // $block in (select unnest($blocks))
),

spoken as materialized (
    select distinct
        token,
        sequence,
        (position // $window * $window)::integer as start
    from occurrences
    where token in (select asking.token from asking)
),

places as (
    select *
    from spoken
    qualify row_number() over (
        partition by token
        order by hash(token, sequence, start, $seed), sequence, start
    ) <= $places
),

offered as (
    select
        asking.feature,
        places.sequence,
        places.start,
        max(struct_pack(firings := asking.firings, token := asking.token)) as best
    from places
    inner join asking on places.token = asking.token
    group by all
)

select
    offered.feature,
    offered.best.token,
    offered.best.firings,
    offered.sequence,
    offered.start
from offered
anti join fired
    on
        offered.feature = fired.feature
        and offered.sequence * $length + offered.start = fired.origin
inner join texts on offered.sequence = texts.sequence and offered.start = texts.start
qualify row_number() over (
    partition by offered.feature, texts.text
    order by offered.best desc, offered.sequence, offered.start
) = 1
