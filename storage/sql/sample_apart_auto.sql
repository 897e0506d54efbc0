-- Updates one row per feature of `drawable` whose documents can be kept apart: that leaves the explainer $explain
-- windows and the scorers $per_decile of each decile. Needs `sides` and `ranked`.
update drawable
set apart = 'document'
from (
    select
        feature,
        sum(explain) as explain,
        min(score) as score
    from (
        select
            ranked.feature,
            ranked.decile,
            count(*) filter (where sides.side = 'explain') as explain,
            count(*) filter (where sides.side = 'score') as score
        from ranked
        inner join sides on ranked.feature = sides.feature and ranked.origin = sides.origin
        group by ranked.feature, ranked.decile
    ) as deciles
    group by feature
) as counted
where drawable.feature = counted.feature and counted.explain >= $explain and counted.score >= $per_decile
