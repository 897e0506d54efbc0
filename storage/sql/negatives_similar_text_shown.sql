-- One row per feature of $lacking and activating context for the explainer, in their order. Needs `drawn`.
select
    feature,
    sequence,
    start
from drawn
where role = 'explain' and kind = 'activating' and feature in (select unnest($lacking))
order by feature, place, sequence, start
