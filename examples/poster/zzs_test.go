package main
import ("testing";"os";"os/exec";"context";"time";"bytes";"image";"image/png"
"github.com/prytany/prytany/sandbox";"github.com/prytany/prytany/examples/picture";"github.com/prytany/prytany/examples/poster/effect")
func TestZS(t *testing.T){
 c:=exec.Command("go","build","-trimpath","-ldflags=-s -w","-o","/tmp/pv/q.wasm","./zztmp"); c.Env=append(os.Environ(),"GOOS=wasip1","GOARCH=wasm"); if o,e:=c.CombinedOutput();e!=nil{t.Fatal(string(o))}
 code,_:=os.ReadFile("/tmp/pv/q.wasm")
 w,err:=sandbox.NewWasm(context.Background()); if err!=nil{t.Fatal(err)}
 s:=time.Now(); w.Compile(context.Background(),code); t.Log("compile",time.Since(s),len(code))
 in:=picture.JPEG()
 for _,args:=range [][]string{{"decode"},{"draw"},{"apply"},{"png"},{"pngfast"}}{
 s=time.Now()
 r,err:=w.Run(context.Background(),sandbox.Job{Code:code,Args:args,Inputs:[]sandbox.File{{Name:"input",Data:in}},Limits:sandbox.Limits{Gas:20e9,MemoryBytes:512<<20,OutputBytes:32<<20,LogBytes:1000,Wall:time.Minute}})
 if err!=nil{t.Fatal(err)}
 t.Log(args,time.Since(s),r.Outcome,r.Gas,string(r.Log),r.Reason)
_ = bytes.Equal;_=image.Pt;_=png.Encode;_=effect.Apply
}
}
