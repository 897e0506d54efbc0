-- One row per feature of $lacking and window of the searched sequences, the blocks $blocks of $block sequences, in
-- which it fires. Needs `fired`.
select
    feature,
    origin
from fired
where
    feature in (select unnest($lacking))
    and origin // ($length * $block) in (select unnest($blocks))
order by feature, origin
