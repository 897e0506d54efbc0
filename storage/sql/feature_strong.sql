-- Temporary table `strong`: one row per feature of [$first, $end) that fires, with the least size of its strongest
-- firings, which are the share $strong of them. $activations: parts of one coder.
create or replace temporary table strong as
select
    feature,
    -quantile_disc(-abs(activation), $strong) as least
from read_parquet($activations, hive_partitioning = false)
where feature >= $first and feature < $end
group by feature
