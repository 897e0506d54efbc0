-- Temporary table: one row per judgement, with its context's decile and kind, whatever ranks it, and the question that
-- it was answered in: what one reply says about several contexts is correlated, whereas a value, such as a cosine, is
-- the context's own however many went with a request.
create or replace temp table judged as
select
    judgements.*,
    contexts.decile,
    contexts.kind,
    contexts.activations,
    coalesce(judgements.probability, judgements.value) as rank_by,
    if(judgements.value is null, hash(judgements.request), hash(judgements.request, judgements.context)) as question
from read_parquet($judgements, hive_partitioning = false) as judgements
inner join read_parquet($contexts, hive_partitioning = false) as contexts using (coder, feature, context)
