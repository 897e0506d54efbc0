-- One row per feature of [$first, $end), dead ones included: the statistics columns of `features`.
-- $activations: parts of one coder; $tokens: tokens of the cache that can fire.
-- The mean is summed in integers of 2^-24, so that it is the same whatever the number of threads.
with binned as (
    select
        feature,
        sequence,
        activation,
        greatest(0, least(31, floor(log2(abs(activation)))::integer + 16)) as bin
    from read_parquet($activations, hive_partitioning = false)
    where feature >= $first and feature < $end
),

counted as (
    select
        feature,
        count(*) as firings,
        max(activation) as max,
        sum(round(activation::double * 16777216)::hugeint)::double / 16777216 / count(*) as mean,
        min(sequence) as first_sequence,
        max(sequence) as last_sequence
    from binned
    group by feature
),

bins as (
    select
        feature,
        bin,
        count(*) as firings
    from binned
    group by feature, bin
),

histograms as (
    select
        every.feature,
        list(coalesce(bins.firings, 0) order by every.bin) as histogram
    from (
        select
            f.feature,
            b.bin
        from range($first, $end) as f (feature)
        cross join range(32) as b (bin)
    ) as every
    left join bins on every.feature = bins.feature and every.bin = bins.bin
    group by every.feature
)

select
    $coder as coder,
    histograms.feature,
    coalesce(counted.firings, 0) as firings,
    coalesce(counted.firings, 0) / $tokens as density,
    counted.max,
    counted.mean,
    histograms.histogram,
    counted.first_sequence,
    counted.last_sequence,
    counted.firings is null as dead
from histograms
left join counted using (feature)
order by histograms.feature
