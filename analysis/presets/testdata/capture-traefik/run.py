# Captures what Traefik exposes for two backends of one HTTPRoute. Inside the testbed:
# build/bin/testbed exec --dir build/testbed -- python3 analysis/presets/testdata/capture-traefik/run.py build/testbed FOLDER
import json,subprocess,urllib.request,sys,time,os
here=os.path.dirname(os.path.abspath(__file__))
info=json.load(open(os.path.join(sys.argv[1],'testbed.json')))
kc=info['kubeconfig']; kubectl=os.path.join(info['assets'],'kubectl')
def k(*a,inp=None): return subprocess.run([kubectl,'--kubeconfig',kc,*a],input=inp,text=True,check=True,capture_output=True).stdout
objs=open(os.path.join(here,'objects.yaml')).read().replace('GWNS',info['gatewayNamespace']).replace('GATEWAY',info['gatewayName'])
print(k('apply','-f','-',inp=objs))
srv=subprocess.Popen([sys.executable,os.path.join(here,'server.py')])
def req(method,path):
    r=urllib.request.Request(info['gatewayURL']+path,method=method,headers={'Host':'web.test'})
    try:
        with urllib.request.urlopen(r,timeout=20) as x: return x.status,x.read().decode().strip()
    except urllib.error.HTTPError as e: return e.code,e.read().decode().strip()
def to(arm):
    w={'canary':(1,0),'stable':(0,1)}[arm]; ip={'canary':'10.244.0.201','stable':'10.244.0.202'}[arm]
    k('-n','shop','patch','httproute','web','--type=json','-p',json.dumps([{'op':'replace','path':'/spec/rules/0/backendRefs/0/weight','value':w[0]},{'op':'replace','path':'/spec/rules/0/backendRefs/1/weight','value':w[1]}]))
    n=0
    for _ in range(600):
        c,b=req('GET','/warm')
        warm[arm]+= (c==200 and b==ip); 
        other={'canary':'stable','stable':'canary'}[arm]
        if c==200 and b!=ip: warm[other]+=1
        n=n+1 if (c==200 and b==ip) else 0
        if n>=10: return
        time.sleep(0.1)
    raise SystemExit('no traffic to '+arm)
warm={'canary':0,'stable':0}
def send(good,bad,slow):
    for _ in range(good): assert req('GET','/')[0]==200
    for _ in range(bad): assert req('POST','/')[0]==500
    for _ in range(slow): assert req('GET','/slow')[0]==200
def metrics():
    t=urllib.request.urlopen(info['gatewayAPIURL'].rstrip('/')+'/metrics',timeout=20).read().decode()
    return t
try:
    time.sleep(1)
    for i,(s,c) in enumerate((((100,5,0),(5,1,0)),((72,2,6),(13,3,4)))):
        before=dict(warm)
        to('stable'); send(*s); to('canary'); send(*c)
        if i==1:  # warm-up requests of the second round count as good ones
            print('warm in round 2', {a:warm[a]-before[a] for a in warm})
        open(os.path.join(sys.argv[2],f'traefik-0@{i}.txt'),'w').write(metrics())
finally:
    srv.terminate()
