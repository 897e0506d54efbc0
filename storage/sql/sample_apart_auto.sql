-- Updates one row per feature of `drawable` whose documents can be kept apart: that leaves the explainer $explain
-- windows and the scorers $per_decile of each decile. Needs `sided`, the windows with the `side` of each.
update drawable
set apart = 'document'
from (
    select
        feature,
        sum(explain) as explain,
        min(score) as score
    from (
        select
            feature,
            decile,
            count(*) filter (where side = 'explain') as explain,
            count(*) filter (where side = 'score') as score
        from sided
        where side != 'either'
        group by feature, decile
    ) as deciles
    group by feature
) as counted
where drawable.feature = counted.feature and counted.explain >= $explain and counted.score >= $per_decile
