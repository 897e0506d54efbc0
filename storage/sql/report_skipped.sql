-- One row per kind of reason for which chosen features were skipped; the numbers in a reason are left out.
select
    coder,
    regexp_replace(reason, '[0-9]+', 'N', 'g') as reason,
    count(*) as features
from samples
where status = 'skipped'
group by all
order by coder, features desc
