-- One row per feature of [$first, $end), dead ones included: the statistics columns of `features`.
-- Needs `sizes`, `spoken`, `strong`, `located`, `vocabulary` (token, string) and `capacity` (position, tokens): the
-- tokens of the cache that can fire.
with everything as (
    select
        sum(tokens)::bigint as tokens,
        count(*) filter (where tokens > 0) as positions
    from capacity
),

counted as (
    select
        feature,
        sum(firings)::bigint as firings,
        max(max) as max,
        min(min) as min,
        min(first_sequence) as first_sequence,
        max(last_sequence) as last_sequence,
        sum(positions) as positions,
        sum(squares) as squares,
        sum(first_positions) as first_positions
    from sizes
    where feature >= $first and feature < $end
    group by feature
),

histograms as (
    select
        every.feature,
        list(coalesce(sizes.firings, 0) order by every.bin) as histogram
    from (
        select
            f.feature,
            b.bin
        from range($first, $end) as f (feature)
        cross join range(32) as b (bin)
    ) as every
    left join sizes on every.feature = sizes.feature and every.bin = sizes.bin
    group by every.feature
),

pairs as (
    select
        feature,
        token,
        sum(firings)::bigint as firings,
        sum(total) as total,
        max(strongest) as strongest
    from spoken
    group by feature, token
),

-- The order of the best is that of one integer: firings first, then the lower token. c log2 c is summed in 2^-20.
heard as (
    select
        feature,
        count(*) as distinct_tokens,
        count(*) filter (where pairs.strongest >= strong.least) as strong_tokens,
        sum(total) as total,
        sum((firings * log2(firings) * 1048576)::hugeint)::double / 1048576 as weighted,
        arg_max(
            struct_pack(token := token, firings := firings, total := total),
            firings * 16777216 - token,
            $top_tokens
        ) as best
    from pairs
    inner join strong using (feature)
    group by feature
),

-- x ln(x / c) + (c - x) ln(1 - x / c) over the positions, in 2^-32: x of the c tokens that can fire there did.
-- Positions without a firing add nothing.
informed as (
    select
        located.feature,
        sum((
            (
                located.firings * ln(located.firings / capacity.tokens)
                + if(
                    located.firings < capacity.tokens,
                    (capacity.tokens - located.firings) * ln(1 - located.firings / capacity.tokens),
                    0
                )
            ) * 4294967296
        )::hugeint)::double / 4294967296 as given_position
    from located
    inner join capacity on located.position = capacity.position
    group by located.feature
),

placed as (
    select
        feature,
        unnest(best) as best,
        generate_subscripts(best, 1) as place
    from heard
),

named as (
    select
        placed.feature,
        list({
            'token': placed.best.token,
            'string': coalesce(
                vocabulary.string, error(format('token {} is not in the vocabulary', placed.best.token))
            ),
            'share': placed.best.firings / counted.firings,
            'mean': placed.best.total::double / 18446744073709551616 / placed.best.firings
        } order by placed.place) as top_tokens
    from placed
    inner join counted using (feature)
    left join vocabulary on placed.best.token = vocabulary.token
    group by placed.feature
)

select
    $coder as coder,
    histograms.feature,
    coalesce(counted.firings, 0) as firings,
    coalesce(counted.firings, 0) / everything.tokens as density,
    counted.max,
    counted.min,
    heard.total::double / 18446744073709551616 / counted.firings as mean,
    histograms.histogram,
    counted.first_sequence,
    counted.last_sequence,
    counted.positions::double / counted.firings as position_mean,
    sqrt((counted.firings * counted.squares - counted.positions * counted.positions)::double)
    / counted.firings as position_sd,
    counted.first_positions::double / counted.firings as first_positions,
    -- Mutual information: the entropy of firing, less that given the position, less what chance alone is expected to
    -- give (Miller and Madow, 1955).
    if(counted.firings is null, null, greatest(0, (
        informed.given_position
        - counted.firings * ln(counted.firings / everything.tokens)
        - if(
            counted.firings < everything.tokens,
            (everything.tokens - counted.firings) * ln(1 - counted.firings / everything.tokens),
            0
        )
        - (everything.positions - 1) / 2
    ) / everything.tokens)) as position_information,
    heard.distinct_tokens,
    heard.strong_tokens,
    named.top_tokens,
    named.top_tokens[1].share as top_token_share,
    -- Rounding may not make the entropy of a single token negative.
    if(
        counted.firings is null, null, greatest(0, log2(counted.firings) - heard.weighted / counted.firings)
    ) as token_entropy,
    named.top_tokens[1].share >= $single_token as single_token,
    coalesce(counted.firings, 0) / everything.tokens > $dense as dense,
    counted.firings is null as dead
from histograms
cross join everything
left join counted using (feature)
left join heard using (feature)
left join named using (feature)
left join informed using (feature)
order by histograms.feature
