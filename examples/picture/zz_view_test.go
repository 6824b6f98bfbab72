package picture
import ("testing";"os";"image/png";"bytes";"image/jpeg";"time";"image"
"github.com/prytany/prytany/examples/poster/effect")
func TestZZ(t *testing.T){
 s:=time.Now(); m:=Render(); t.Log("render",time.Since(s))
 w:=func(n string, m image.Image){var b bytes.Buffer; png.Encode(&b,m); os.WriteFile(n,b.Bytes(),0644); t.Log(n,b.Len())}
 w("/tmp/pv/pic.png",m)
 s=time.Now(); j:=JPEG(); t.Log("jpeg",time.Since(s),len(j)); os.WriteFile("/tmp/pv/pic.jpg",j,0644)
 d,_:=jpeg.Decode(bytes.NewReader(j))
 s=time.Now(); o:=effect.Apply(d,effect.Options{}); t.Log("apply",time.Since(s)); w("/tmp/pv/out.png",o)
 o=effect.Apply(d,effect.Options{Blur:[]image.Rectangle{Number}}); w("/tmp/pv/outb.png",o)
 t.Log(Number)
}
