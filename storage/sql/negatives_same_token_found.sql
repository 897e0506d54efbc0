-- Adds to `token_windows` one row per feature of $lacking and silent window of the searched sequences that contains one
-- of its tokens and may be shown for $role, one for each text: $places windows of each token at random, the same ones
-- for every feature. With $peak they are those that a firing on the token would have (as in `sample_placed_peak`), else
-- those of the grid. Searched are the blocks $blocks of $block sequences; $tokens: the parts of `tokens` that hold
-- them. Needs `wanted_tokens`, `texts`, `segments`, `cuts` and `firings`.
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

-- Documents matter around peaks alone.
documents as (
    select
        sequence,
        first,
        "end"
    from segments
    where $peak
),

containing as materialized (
    select distinct
        occurrences.token,
        occurrences.sequence,
        if(
            $peak,
            greatest(
                coalesce(documents.first, 0),
                least(occurrences.position - $window // 2, coalesce(documents.end, $length) - $window)
            ),
            occurrences.position // $window * $window
        )::integer as start
    from occurrences
    asof left join documents
        on occurrences.sequence = documents.sequence and occurrences.position >= documents.first
    where
        occurrences.token in (select wanted.token from wanted)
        and coalesce(documents.end, $length) - coalesce(documents.first, 0) >= $window
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
),

misplaced as (
    select
        offers.feature,
        offers.sequence,
        offers.start
    from offers
    inner join cuts on offers.feature = cuts.feature
    inner join segments
        on
            offers.sequence = segments.sequence
            and offers.start < segments.end
            and offers.start + $window > segments.first
    where (segments.random <= cuts.last) = ($role = 'score')
)

select
    offers.feature,
    offers.best.token,
    offers.best.firings,
    offers.sequence,
    offers.start
from offers
anti join firings
    on
        offers.feature = firings.feature
        and offers.sequence = firings.sequence
        and offers.start <= firings.position
        and offers.start + $window > firings.position
anti join misplaced
    on
        offers.feature = misplaced.feature
        and offers.sequence = misplaced.sequence
        and offers.start = misplaced.start
left join texts on offers.sequence = texts.sequence and offers.start = texts.start
where $peak or texts.text is not null
qualify row_number() over (
    partition by offers.feature, coalesce(texts.text, hash(offers.sequence, offers.start))
    order by offers.best desc, offers.sequence, offers.start
) = 1
