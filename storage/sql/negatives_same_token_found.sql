-- Adds to `token_windows` one row per feature of $lacking and silent window of the searched sequences that contains one
-- of its tokens, one for each text: $places windows of each token at random, the same ones for every feature. Searched
-- are the blocks $blocks of $block sequences; $tokens: the parts of `tokens` that hold them. Needs `wanted_tokens`,
-- `texts` and `fired`.
insert into token_windows
with wanted as (
    select *
    from wanted_tokens
    where feature in (select unnest($lacking))
),

occurrences as (
    select
        sequence,
        unnest(tokens) as token,
        generate_subscripts(tokens, 1) - 1 as position
    from read_parquet($tokens, hive_partitioning = false)
    where sequence // $block in (select unnest($blocks))
),

containing as materialized (
    select distinct
        token,
        sequence,
        (position // $window * $window)::integer as start
    from occurrences
    where token in (select wanted.token from wanted)
),

places as (
    select *
    from containing
    qualify row_number() over (
        partition by token
        order by hash(token, sequence, start, $seed), sequence, start
    ) <= $places
),

offers as (
    select
        wanted.feature,
        places.sequence,
        places.start,
        max(struct_pack(firings := wanted.firings, token := wanted.token)) as best
    from places
    inner join wanted on places.token = wanted.token
    group by all
)

select
    offers.feature,
    offers.best.token,
    offers.best.firings,
    offers.sequence,
    offers.start
from offers
anti join fired
    on
        offers.feature = fired.feature
        and offers.sequence * $length + offers.start = fired.origin
inner join texts on offers.sequence = texts.sequence and offers.start = texts.start
qualify row_number() over (
    partition by offers.feature, texts.text
    order by offers.best desc, offers.sequence, offers.start
) = 1
