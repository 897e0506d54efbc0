-- Temporary table: the contexts of an explanation and control that are judged in two questions, once of each class, as
-- with fuzzing's `marks: active`.
create or replace temp table asked_twice as
select
    feature,
    replicate,
    control,
    context
from judged
group by feature, replicate, control, context
having min(question) < max(question)
