-- One row per feature of [$first, $end): what explainers may be shown about it besides its contexts.
select
    feature,
    single_token,
    top_tokens,
    top_logits,
    bottom_logits
from read_parquet($features, hive_partitioning = false)
where feature >= $first and feature < $end
order by feature
