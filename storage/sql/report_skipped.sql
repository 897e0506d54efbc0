-- One row per coder and reason for which chosen features were skipped.
select
    coder,
    reason,
    count(*) as features
from samples
where status = 'skipped'
group by all
order by coder, features desc
