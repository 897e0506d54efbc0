-- One row per feature of [$first, $end), dead ones included: the statistics columns of `features`.
-- $activations: parts of one coder, in the order of its shards; $tokens: tokens of the cache that can fire.
-- The mean is summed in integers of 2^-24, so that it is the same whatever the number of threads.
with firings as (
    select
        feature,
        activation,
        filename
    from read_parquet($activations, filename = true, hive_partitioning = false)
    where feature >= $first and feature < $end
),

shards as (
    select
        unnest($activations) as filename,
        unnest(range(len($activations))) as shard
),

binned as (
    select
        firings.feature,
        firings.activation,
        shards.shard,
        greatest(0, least(31, floor(log2(abs(firings.activation)))::integer + 16)) as bin
    from firings
    inner join shards using (filename)
),

counted as (
    select
        feature,
        count(*) as firings,
        max(activation) as max,
        sum(round(activation::double * 16777216)::hugeint)::double / 16777216 / count(*) as mean,
        min(shard) as first_shard,
        max(shard) as last_shard
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
    counted.first_shard,
    counted.last_shard,
    counted.firings is null as dead
from histograms
left join counted using (feature)
order by histograms.feature
