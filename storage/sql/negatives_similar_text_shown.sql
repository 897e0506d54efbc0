-- One row per feature of $asked and activating context that the explainer is shown, in their order. Needs `drawn`.
select
    feature,
    sequence,
    start
from drawn
where role = 'explain' and kind = 'activating' and feature in (select unnest($asked))
order by feature, place, sequence, start
