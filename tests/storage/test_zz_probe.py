import logging, os, pytest
from storage.lake import Lake
from storage.tables import ACTIVATIONS
from s3fs import S3FileSystem
def test_x(s3, monkeypatch):
    l=Lake(s3.uri); l.check_writable()
    rows=ACTIVATIONS.rows([dict(coder="c",feature=1,sequence=0,position=0,activation=1.0)])
    l.write(ACTIVATIONS,"activations/x/0-1.parquet",rows)
    print(l.read("activations",[l.path("activations/x/0-1.parquet")]).to_pylist(), l.files("activations"), os.listdir(s3.folder))
    print(l.exists("activations"), l.exists("a"), l.read_json("x.json"))
    for k,v in [("AWS_SECRET_ACCESS_KEY","wrong"),("AWS_ACCESS_KEY_ID","wrong"),("AWS_ENDPOINT_URL","http://127.0.0.1:1")]:
        with monkeypatch.context() as m:
            m.setenv(k,v); S3FileSystem.clear_instance_cache()
            if k=="AWS_ENDPOINT_URL": continue
            try: Lake(s3.uri).check_writable(); print("writable?!")
            except Exception as e: print(k,type(e),e)
            try: print(Lake(s3.uri).read("activations",[l.path("activations/x/0-1.parquet")]))
            except Exception as e: print(k,type(e),e)
            try: print(Lake(s3.uri).exists("a"))
            except Exception as e: print(k,type(e),e)
    S3FileSystem.clear_instance_cache()
    try: Lake("s3://nobucket/x").check_writable(); print("writable?!")
    except Exception as e: print(type(e),e)
    for d in ["sp ace","a=b/feature=9","plus+x","br[a]","perc%20ent","q?x=1","hash#x"]:
        l=Lake(s3.uri+"/"+d)
        try:
            l.write(ACTIVATIONS,"activations/x/0-1.parquet",rows)
            print(d,l.read("activations",[l.path("activations/x/0-1.parquet")]).to_pylist(), l.files("activations"))
        except Exception as e: print(d,"ERR",str(e)[:200])
