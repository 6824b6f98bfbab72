package main
import ("testing";"os";"os/exec";"context";"time";"bytes";"image";"image/png"
"github.com/prytany/prytany/sandbox";"github.com/prytany/prytany/examples/picture";"github.com/prytany/prytany/examples/poster/effect")
func TestZZ(t *testing.T){
 c:=exec.Command("go","build","-trimpath","-ldflags=-s -w","-o","/tmp/pv/p.wasm","."); c.Env=append(os.Environ(),"GOOS=wasip1","GOARCH=wasm"); if o,e:=c.CombinedOutput();e!=nil{t.Fatal(string(o))}
 code,_:=os.ReadFile("/tmp/pv/p.wasm")
 w,err:=sandbox.NewWasm(context.Background()); if err!=nil{t.Fatal(err)}
 s:=time.Now(); w.Compile(context.Background(),code); t.Log("compile",time.Since(s),len(code))
 in:=picture.JPEG()
 for _,args:=range [][]string{nil,{"--levels","6","--radius","4","--blur","418,357,117,28"},{"--levels","0"}}{
 s=time.Now()
 r,err:=w.Run(context.Background(),sandbox.Job{Code:code,Args:args,Inputs:[]sandbox.File{{Name:"input",Data:in}},Limits:sandbox.Limits{Gas:20e9,MemoryBytes:512<<20,OutputBytes:32<<20,LogBytes:1000,Wall:time.Minute}})
 if err!=nil{t.Fatal(err)}
 t.Log(args,time.Since(s),r.Outcome,r.Gas,string(r.Log),r.Reason)
 if len(r.Outputs)>0{ o,err:=effect.ParseArgs(args); if err!=nil{t.Fatal(err)}
  os.WriteFile("/tmp/pv/outb.png",r.Outputs[0].Data,0644);src,_,_:=image.Decode(bytes.NewReader(in)); var b bytes.Buffer; png.Encode(&b,effect.Apply(src,o)); t.Log("same",bytes.Equal(b.Bytes(),r.Outputs[0].Data),b.Len()) }
 }
}
