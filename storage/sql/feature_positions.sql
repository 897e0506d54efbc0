-- Temporary table `located`: one row per feature of [$first, $end) and position of a sequence on which it fires.
-- $activations: parts of one coder.
create or replace temporary table located as
select
    feature,
    position,
    count(*) as firings
from read_parquet($activations, hive_partitioning = false)
where feature >= $first and feature < $end
group by feature, position
