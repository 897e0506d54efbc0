-- Temporary table: one row per judgement, with its context's decile and kind, and whatever ranks it.
create or replace temp table judged as
select
    judgements.*,
    contexts.decile,
    contexts.kind,
    contexts.activations,
    coalesce(judgements.probability, judgements.value) as rank_by
from read_parquet($judgements, hive_partitioning = false) as judgements
inner join read_parquet($contexts, hive_partitioning = false) as contexts using (coder, feature, context)
