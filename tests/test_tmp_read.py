import time
from pathlib import Path
from tests.conftest import *
from tests.world import make_world, rows
from app.billing.receive import receive_bill
from app.billing.read import read_bill
from app.billing.work import work_off
def test_big(database):
    w=make_world()
    for name in ("csv",):
        t=time.time()
        with open('/tmp/intake_big.'+name,'rb') as f:
            r=receive_bill(f,store_id=w.bookshop,kind={"csv":"text/csv","json":"application/json"}[name],source="api",by="x",period="2026-10",reference="big"+name if name=="csv" else None)
        t1=time.time(); c1=time.process_time()
        marks=[]
        read_bill(r.bill.id, progress=lambda n: marks.append(time.time()))
        t2=time.time(); print("cpu", time.process_time()-c1)
        print(name,"received",t1-t,"read",t2-t1)
        print(rows("select lines, wrong_lines, state from bill where id=:id",id=r.bill.id))
    from app.billing.bill import sums_of
    t=time.time(); print(sums_of(r.bill.id), time.time()-t)
